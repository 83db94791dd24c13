"""Memory order of feature maps."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(x: Tensor) -> Tensor:
    """[B C H W] in the memory order in which CPUs convolve fastest; as it is on other devices."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x
