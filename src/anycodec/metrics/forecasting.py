"""A linear forecast in closed form: what a series' past says of its future, without a training loop."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RIDGE = 1e-2
"""Penalty on squared weights, a share of the mean squared value of the context."""


class LinearForecast:
    """future = context W + b by ridge regression, the channels sharing nothing.

    Args:
        windows: [N C T], from which the weights are fitted; the last `horizon` samples are the future.
        horizon: samples to forecast.

    Raises:
        ValueError: windows no longer than the horizon.
    """

    def __init__(self, windows: ArrayLike, horizon: int) -> None:
        x, y = _halves(windows, horizon)
        self._horizon = horizon
        self._mean, self._bias = x.mean(axis=0), y.mean(axis=0)
        a, b = (x - self._mean).transpose(1, 0, 2), (y - self._bias).transpose(1, 0, 2)
        gram = a.transpose(0, 2, 1) @ a
        size = gram.shape[-1]
        penalty = RIDGE * np.trace(gram, axis1=1, axis2=2)[:, None, None] / size + np.finfo(float).tiny ** 0.5
        self._weights = np.linalg.solve(gram + penalty * np.eye(size), a.transpose(0, 2, 1) @ b)

    def error(self, windows: ArrayLike) -> float:
        """Mean absolute error of the forecasts of other windows [N C T], in the windows' unit."""
        x, y = _halves(windows, self._horizon)
        found = np.einsum("nct,cth->nch", x - self._mean, self._weights) + self._bias
        return float(np.abs(found - y).mean())


def _halves(windows: ArrayLike, horizon: int) -> tuple[Floats, Floats]:
    x = np.asarray(windows, np.float64)
    if not 0 < horizon < x.shape[-1]:
        raise ValueError(f"a horizon of {horizon} in windows of {x.shape[-1]}")
    return x[..., :-horizon], x[..., -horizon:]
