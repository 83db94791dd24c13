"""How far apart two samples of a number are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class DistributionDistance:
    """Two samples of one number.

    Attributes:
        wasserstein: area between the distribution functions, in the number's unit.
        kolmogorov: largest difference of the distribution functions, 0 .. 1.
        p: probability of that much or more where both come from one distribution and all are independent;
            windows that overlap aren't, and make it too small.
        mean: of either sample.
        n: values of either that are numbers.
    """

    wasserstein: float
    kolmogorov: float
    p: float
    mean: tuple[float, float]
    n: tuple[int, int]


def distribution_distance(first: ArrayLike, second: ArrayLike) -> DistributionDistance | None:
    """Compare two samples, missing values (NaN) left out; None where nothing is left of either."""
    from scipy.stats import ks_2samp, wasserstein_distance

    x, y = (np.asarray(part, np.float64) for part in (first, second))
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]
    if not len(x) or not len(y):
        return None
    test = ks_2samp(x, y)
    return DistributionDistance(
        wasserstein=float(wasserstein_distance(x, y)),
        kolmogorov=float(test.statistic),
        p=float(test.pvalue),
        mean=(float(x.mean()), float(y.mean())),
        n=(len(x), len(y)),
    )
