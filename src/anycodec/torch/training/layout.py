"""The order in which weights lie in memory."""

from __future__ import annotations

import torch
from torch import nn


def lay_out(module: nn.Module) -> None:
    """Store the weights of 2-D convolutions channels last, as CPUs convolve.

    Their gradients come in that order and need no copy, and neither do inputs: torch then keeps feature
    maps channels last too, with the same values.
    """
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
