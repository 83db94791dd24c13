"""Learned linear layers between latents and codes of another width."""

from __future__ import annotations

import torch
from torch import nn


def projections(dim: int, width: int) -> tuple[nn.Linear, nn.Linear]:
    """Layers from `dim` to `width` channels and back; both start as one orthonormal basis."""
    enter, leave = nn.Linear(dim, width), nn.Linear(width, dim)
    nn.init.orthogonal_(enter.weight)
    with torch.no_grad():
        leave.weight.copy_(enter.weight.T)
    nn.init.zeros_(enter.bias)
    nn.init.zeros_(leave.bias)
    return enter, leave
