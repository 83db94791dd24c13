"""The learned part of RevIN (Kim et al. 2022): a gain and an offset of each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_EPSILON = 1e-5**2
"""Added to gains before division, as published."""


class ChannelAffine(nn.Module):
    """y = gamma x + beta on windows [B C T]; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, 1))
        self.beta = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma + self.beta

    def inverse(self, y: Tensor) -> Tensor:
        """x = (y - beta) / (gamma + epsilon)."""
        return (y - self.beta) / (self.gamma + _EPSILON)
