"""Mean and deviation of more data than fits into memory, and how its channels move together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Moments:
    """Running mean and sum of squared deviations a channel, in float64.

    Chunks are merged by the pairwise update of Chan, Golub and LeVeque (1979), eq. 2.1: stable for
    values with a large common offset, where a sum of squares is not.
    """

    def __init__(self) -> None:
        self._count: NDArray[np.float64] = np.zeros(0)
        self._mean: NDArray[np.float64] = np.zeros(0)
        self._squares: NDArray[np.float64] = np.zeros(0)

    def add(self, values: NDArray[np.float32], mask: NDArray[np.bool_] | None = None) -> None:
        """Take in values [.. C], where `mask` (like `values`) is True."""
        x = values.reshape(-1, values.shape[-1]).astype(np.float64)
        weight = np.ones(x.shape) if mask is None else mask.reshape(x.shape).astype(np.float64)
        if not len(self._count):
            self._count, self._mean, self._squares = np.zeros((3, x.shape[1]))
        count = weight.sum(axis=0)
        mean = (x * weight).sum(axis=0) / np.maximum(count, 1)
        squares = (weight * np.square(x - mean)).sum(axis=0)
        total = self._count + count
        share = count / np.maximum(total, 1)
        delta = mean - self._mean
        self._squares += squares + np.square(delta) * self._count * share
        self._mean += delta * share
        self._count = total

    @property
    def mean(self) -> NDArray[np.float64]:
        """[C]; 0 for a channel without a value."""
        return self._mean

    @property
    def deviation(self) -> NDArray[np.float64]:
        """[C], biased; 0 for a channel without a value."""
        return np.sqrt(self._squares / np.maximum(self._count, 1))


class Steps:
    """Running sum of products of steps from each sample to the next, [C C] in float64."""

    def __init__(self) -> None:
        self.products: NDArray[np.float64] = np.zeros((0, 0))

    def add(self, values: NDArray[np.float32], mask: NDArray[np.bool_] | None = None) -> None:
        """Take in values [T C]; steps from or to where `mask` (like `values`) is False count as 0."""
        steps = np.diff(values.astype(np.float64), axis=0)
        if mask is not None:
            steps *= mask[1:] & mask[:-1]
        if not self.products.size:
            self.products = np.zeros((values.shape[1], values.shape[1]))
        self.products += steps.T @ steps

    def axes(self, scale: NDArray[np.float64]) -> NDArray[np.float64]:
        """Orthonormal columns [C C]: principal axes of steps in units of `scale` [C], the largest first."""
        _, vectors = np.linalg.eigh(self.products / np.outer(scale, scale))
        return np.ascontiguousarray(vectors[:, ::-1])
