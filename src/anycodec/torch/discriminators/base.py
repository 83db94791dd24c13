"""The contract of a discriminator: windows in, logits and features out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class Judgement(NamedTuple):
    """What a discriminator makes of windows.

    Attributes:
        logits: [B 1 *patches], high where a patch looks real.
        features: activations [B D *n] of the layers before, from the first to the last.
    """

    logits: Tensor
    features: tuple[Tensor, ...]


class Discriminator(nn.Module, ABC):
    """Tells windows [B C *s] from reconstructions; *s at least as `smallest_window` of its spec says."""

    @abstractmethod
    def forward(self, x: Tensor) -> Judgement:
        """The judgement of windows [B C *s]."""
