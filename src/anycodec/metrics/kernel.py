"""Kernel distance of two clouds of feature vectors: KID where the features are Inception's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

SUBSETS = 100
SUBSET_SIZE = 1000


@dataclass(frozen=True, slots=True)
class KernelDistance:
    """Mean and deviation over random subsets; the deviation is 0 where one subset holds everything."""

    mean: float
    deviation: float


def kernel_distance(
    features: ArrayLike,
    others: ArrayLike,
    *,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = 0,
) -> KernelDistance:
    """Squared maximum mean discrepancy of two sets of vectors, [N D] and [M D] (KID, 1801.01401).

    Polynomial kernel (x . y / D + 1)^3, unbiased: independent sets of one distribution give 0 on
    average, at any size, so single figures can be negative. Sets of at most `subset_size` are compared whole.

    Raises:
        ValueError: fewer than two vectors in a set, or sets of different width.
    """
    x, y = np.asarray(features, np.float64), np.asarray(others, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"sets of at least two vectors of one width, not {x.shape} and {y.shape}")
    if max(len(x), len(y)) <= subset_size:
        return KernelDistance(squared_mmd(x, y), 0.0)
    rng = np.random.default_rng(seed)

    def drawn(vectors: Floats) -> Floats:
        return vectors[rng.choice(len(vectors), min(subset_size, len(vectors)), replace=False)]

    found = [squared_mmd(drawn(x), drawn(y)) for _ in range(subsets)]
    return KernelDistance(float(np.mean(found)), float(np.std(found)))


def squared_mmd(x: Floats, y: Floats) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, eq. 3)."""
    within = _mean_off_diagonal(_kernel(x, x)) + _mean_off_diagonal(_kernel(y, y))
    return within - 2 * float(_kernel(x, y).mean())


def _kernel(x: Floats, y: Floats) -> Floats:
    similar: Floats = (x @ y.T / x.shape[1] + 1) ** 3
    return similar


def _mean_off_diagonal(matrix: Floats) -> float:
    n = len(matrix)
    return float((matrix.sum() - np.trace(matrix)) / (n * (n - 1)))
