"""A loss term: a named number to make small. The trainer sums what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Loss(nn.Module, ABC):
    """One reconstruction term, unweighted."""

    @abstractmethod
    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        """Scalar from two normalised windows [B C *s]."""
