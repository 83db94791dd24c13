"""Principal components: features of any data without a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

MOST = 64
"""Features at most: distances of a few hundred samples mean little in more."""


class PrincipalComponents:
    """The axes along which samples vary most, scaled alike so that features have unit variance on average.

    Args:
        samples: [N ...], flattened; what the axes are fitted on.
        most: number of axes at most.

    Raises:
        ValueError: fewer than two samples, or samples that are all the same.
    """

    def __init__(self, samples: ArrayLike, most: int = MOST) -> None:
        x = _flat(samples)
        if len(x) < 2:
            raise ValueError("principal components of fewer than two samples")
        self._mean = x.mean(axis=0)
        _, deviations, axes = np.linalg.svd(x - self._mean, full_matrices=False)
        kept = min(most, int((deviations > 1e-6 * deviations[0]).sum())) if deviations[0] > 0 else 0
        if not kept:
            raise ValueError("principal components of samples that are all the same")
        scale = np.sqrt(np.square(deviations[:kept]).mean() / (len(x) - 1))
        self._axes = axes[:kept].T / scale

    def __call__(self, samples: ArrayLike) -> Floats:
        """Features [N F] of samples [N ...]."""
        features: Floats = (_flat(samples) - self._mean) @ self._axes
        return features


def _flat(samples: ArrayLike) -> Floats:
    x = np.asarray(samples, np.float64)
    return x.reshape(len(x), -1)
