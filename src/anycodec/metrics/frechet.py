"""Fréchet distance of two clouds of feature vectors: FID where the features are Inception's."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def frechet_distance(features: ArrayLike, others: ArrayLike) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of vectors, [N D] and [M D].

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Heusel et al. 2017, 1706.08500, eq. 6), with unbiased
    covariances. It falls as sets grow: compare figures of equally many vectors only.

    Raises:
        ValueError: fewer than two vectors in a set, or sets of different width.
    """
    x, y = np.asarray(features, np.float64), np.asarray(others, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"sets of at least two vectors of one width, not {x.shape} and {y.shape}")
    return gaussian_frechet(x.mean(axis=0), _covariance(x), y.mean(axis=0), _covariance(y))


def gaussian_frechet(mean: Floats, covariance: Floats, other_mean: Floats, other_covariance: Floats) -> float:
    """Squared Fréchet distance of two Gaussians with means [D] and covariances [D D].

    tr (S1 S2)^(1/2) is the sum of the roots of the eigenvalues of R S2 R, R = S1^(1/2), which is
    symmetric: nothing turns complex where a covariance is singular, unlike a root of the product.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.linalg.eigvalsh(root @ other_covariance @ root)
    overlap = np.sqrt(np.maximum(shared, 0)).sum()
    apart = np.square(mean - other_mean).sum()
    return max(0.0, float(apart + np.trace(covariance) + np.trace(other_covariance) - 2 * overlap))


def _covariance(vectors: Floats) -> Floats:
    return np.atleast_2d(np.cov(vectors, rowvar=False))
