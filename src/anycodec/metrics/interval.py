"""What a few repetitions say of a mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its confidence interval at `LEVEL`.

    Attributes:
        mean: of the repetitions.
        half: half the width of the interval; NaN of a single repetition, which says nothing of the spread.
        n: repetitions.
    """

    mean: float
    half: float
    n: int

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half


def t_interval(values: Sequence[float]) -> Interval:
    """Student's interval: mean +- t(n - 1) s / sqrt(n), s the unbiased deviation.

    Raises:
        ValueError: no values.
    """
    from scipy.stats import t

    if not len(values):
        raise ValueError("an interval of no values")
    x = np.asarray(values, np.float64)
    n = len(x)
    if n == 1:
        return Interval(float(x[0]), float("nan"), 1)
    half = float(t.ppf((1 + LEVEL) / 2, n - 1) * x.std(ddof=1) / np.sqrt(n))
    return Interval(float(x.mean()), half, n)
