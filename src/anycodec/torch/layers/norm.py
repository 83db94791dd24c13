"""Group normalisation for any width."""

from __future__ import annotations

from torch import nn


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """GroupNorm, eps 1e-6, with the largest number of groups up to `groups` that divides `channels`."""
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels, eps=1e-6)
