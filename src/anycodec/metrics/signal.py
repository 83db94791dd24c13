"""Errors of a restored signal, accumulated in one pass with memory of one segment.

Axis legend as in `anycodec.types`. Means are removed for each channel of each signal, so that an
offset (a column in the hundreds, a read's baseline current) does not count as signal power.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalScores:
    """Errors in the unit of the values that were compared.

    Attributes:
        n: values compared.
        rmse: root of the mean squared error.
        mae: mean absolute error.
        max_abs: largest absolute error.
        snr: 10 log10(sum (x - mean)^2 / sum (x - y)^2) in dB, the mean of each channel of each
            signal removed; +inf without error, -inf for a constant signal with error.
        pearson: correlation of x and y around those means; where one of them is constant it is 1
            without error and 0 with error.
    """

    n: int
    rmse: float
    mae: float
    max_abs: float
    snr: float
    pearson: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorSums:
    """Sufficient statistics of `SignalScores`; sums of different signals add up.

    Attributes:
        n: values.
        xx: sum (x - mean x)^2. yy: sum (y - mean y)^2. xy: sum (x - mean x)(y - mean y).
        squared: sum (x - y)^2. absolute: sum |x - y|. largest: max |x - y|.
    """

    n: int = 0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0
    squared: float = 0.0
    absolute: float = 0.0
    largest: float = 0.0

    def __add__(self, other: ErrorSums) -> ErrorSums:
        return ErrorSums(
            n=self.n + other.n,
            xx=self.xx + other.xx,
            yy=self.yy + other.yy,
            xy=self.xy + other.xy,
            squared=self.squared + other.squared,
            absolute=self.absolute + other.absolute,
            largest=float(np.maximum(self.largest, other.largest)),
        )

    def scores(self) -> SignalScores:
        """The errors; NaN throughout where nothing was compared."""
        if self.n == 0:
            return SignalScores(n=0, **dict.fromkeys(("rmse", "mae", "max_abs", "snr", "pearson"), math.nan))
        return SignalScores(
            n=self.n,
            rmse=math.sqrt(self.squared / self.n),
            mae=self.absolute / self.n,
            max_abs=self.largest,
            snr=decibel(self.xx, self.squared),
            pearson=self._pearson(),
        )

    def _pearson(self) -> float:
        if self.xx == 0 or self.yy == 0:
            return 1.0 if self.squared == 0 else 0.0
        return float(np.clip(self.xy / (math.sqrt(self.xx) * math.sqrt(self.yy)), -1, 1))


def decibel(power: float, noise: float) -> float:
    """10 log10(power / noise); +inf without noise, -inf without power."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(power / noise) if power != 0 else -math.inf


class SignalMetrics:
    """Errors of one signal that arrives in segments, in any order.

    Moments are merged by the pairwise update of Chan, Golub and LeVeque (1979), which keeps
    precision for signals with a large offset.

    Args:
        channel_axis: the axis of C: -1 for signals [T C], 1 for windows [N C *s].
    """

    def __init__(self, channel_axis: int = -1) -> None:
        self._axis = channel_axis
        self._moments: _Moments | None = None

    def update(self, original: ArrayLike, restored: ArrayLike, mask: ArrayLike | None = None) -> None:
        """Add a segment.

        Args:
            original: values with a channel axis.
            restored: the same shape.
            mask: booleans that broadcast to that shape; False leaves a value out, whatever it
                holds. None = every value counts.

        Raises:
            ValueError: shapes differ.
        """
        x, y = np.asarray(original), np.asarray(restored)
        if x.shape != y.shape:
            raise ValueError(f"original has shape {x.shape}, restored {y.shape}")
        keep = np.broadcast_to(np.asarray(True if mask is None else mask, dtype=bool), x.shape)
        segment = _Moments.of(self._rows(x), self._rows(y), self._rows(keep))
        self._moments = segment if self._moments is None else self._moments.merged(segment)

    def sums(self) -> ErrorSums:
        """Sufficient statistics so far, for `PooledMetrics`."""
        return ErrorSums() if self._moments is None else self._moments.sums()

    def result(self) -> SignalScores:
        return self.sums().scores()

    def _rows(self, values: NDArray[Any]) -> NDArray[Any]:
        moved = np.moveaxis(values, self._axis, -1)
        return moved.reshape(-1, moved.shape[-1])


class PooledMetrics:
    """Errors over many signals: pooled over values, and the median of the signals' SNR."""

    def __init__(self) -> None:
        self._total = ErrorSums()
        self._snr: list[float] = []

    def add(self, signal: SignalMetrics) -> SignalScores:
        """Count a finished signal; returns its own errors."""
        sums = signal.sums()
        scores = sums.scores()
        if scores.n:
            self._total += sums
            self._snr.append(scores.snr)
        return scores

    def result(self) -> SignalScores:
        """Pooled: one long signal whose parts keep their own means."""
        return self._total.scores()

    @property
    def median_snr(self) -> float:
        """Median over signals, dB; NaN where there is none."""
        return float(np.median(self._snr)) if self._snr else math.nan


@dataclass(slots=True)
class _Moments:
    """Moments of the rows of one or more segments, [C] each."""

    n: Floats
    mean_x: Floats
    mean_y: Floats
    xx: Floats
    yy: Floats
    xy: Floats
    errors: ErrorSums = field(default_factory=ErrorSums)

    @classmethod
    def of(cls, x: NDArray[Any], y: NDArray[Any], keep: NDArray[np.bool_]) -> _Moments:
        n = keep.sum(axis=0, dtype=np.float64)
        kept_x = np.where(keep, x, 0).astype(np.float64, copy=False)
        kept_y = np.where(keep, y, 0).astype(np.float64, copy=False)
        error = np.abs(kept_x - kept_y)
        mean_x, centred_x = _centre(kept_x, keep, n)
        mean_y, centred_y = _centre(kept_y, keep, n)
        return cls(
            n=n,
            mean_x=mean_x,
            mean_y=mean_y,
            xx=np.einsum("tc,tc->c", centred_x, centred_x),
            yy=np.einsum("tc,tc->c", centred_y, centred_y),
            xy=np.einsum("tc,tc->c", centred_x, centred_y),
            errors=ErrorSums(
                n=int(n.sum()),
                squared=float(np.einsum("tc,tc->", error, error)),
                absolute=float(error.sum()),
                largest=float(error.max(initial=0.0)),
            ),
        )

    def merged(self, other: _Moments) -> _Moments:
        n = self.n + other.n
        share = other.n / np.maximum(n, 1)
        step_x, step_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        weight = self.n * share
        return _Moments(
            n=n,
            mean_x=self.mean_x + share * step_x,
            mean_y=self.mean_y + share * step_y,
            xx=self.xx + other.xx + weight * step_x * step_x,
            yy=self.yy + other.yy + weight * step_y * step_y,
            xy=self.xy + other.xy + weight * step_x * step_y,
            errors=self.errors + other.errors,
        )

    def sums(self) -> ErrorSums:
        moments = ErrorSums(xx=float(self.xx.sum()), yy=float(self.yy.sum()), xy=float(self.xy.sum()))
        return self.errors + moments


def _centre(values: Floats, keep: NDArray[np.bool_], n: Floats) -> tuple[Floats, Floats]:
    """Means [C] and values minus means [T C], 0 where not kept."""
    if not len(values):
        return np.zeros(values.shape[1]), values
    # about a value of the channel itself, so that a constant has a deviation of exactly 0
    pivot = np.take_along_axis(values, keep.argmax(axis=0)[None], axis=0)
    centred = np.where(keep, values - pivot, 0.0)
    step = centred.sum(axis=0) / np.maximum(n, 1)
    return pivot[0] + step, np.where(keep, centred - step, 0.0)
