"""A table of codes seen through one linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def square_linear(dim: int) -> nn.Linear:
    """A layer [d] -> [d] that starts as a rotation."""
    linear = nn.Linear(dim, dim)
    nn.init.orthogonal_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def seen_through(linear: nn.Linear, table: Tensor) -> Tensor:
    """E W + b of a table [K d], in float32 whatever the autocast."""
    with torch.autocast(table.device.type, enabled=False):
        codes: Tensor = linear(table)
        return codes


@torch.no_grad()
def seen_back(linear: nn.Linear, codes: Tensor) -> Tensor:
    """E = (q - b) W^-1, by the pseudo-inverse where W is near singular, in float32 whatever the autocast."""
    with torch.autocast(codes.device.type, enabled=False):
        inverse: Tensor = torch.linalg.pinv(linear.weight, rtol=1e-3)
        table: Tensor = (codes - linear.bias) @ inverse.T
        return table
