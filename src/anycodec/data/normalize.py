"""Normalizers: signal unit -> network scale and back, affine in each channel: y = (x - shift) / scale.

Statistics are computed in float64 and stored as float32; `apply` and `invert` use the stored
values, so that what is written to a file is what was used. In float32 the round trip costs at most
a few units in the last place of the largest |x|: the subtraction of the shift is exactly rounded,
and y * scale + shift is as coarse as x itself.

| type | scope | shift | scale |
|---|---|---|---|
| median_mad | signal | median | 1.4826 MAD |
| standard | dataset | mean of the training split | deviation of the training split |
| principal | dataset | 0, after the channels were z-scored and mixed | 1 |
| revin | window | mean (or last value) of the window | sqrt(biased variance + 1e-5) |
| fixed | constant | middle of the range | half of the range |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from anycodec.config.data import (
    FixedSpec,
    MedianMadSpec,
    PrincipalSpec,
    RevinSpec,
    SeriesNormalizerSpec,
    StandardSpec,
)
from anycodec.data.moments import Moments, Steps
from anycodec.errors import DataError
from anycodec.types import Affine, SignalInfo

Scope = Literal["dataset", "signal", "window", "constant"]
"""What one pair of statistics stands for: the run, each segment of a signal, each window, the type."""
Windows = NDArray[np.float32]
Mask = NDArray[np.bool_]

MAD_TO_DEVIATION = 1.4826
"""1 / Phi^-1(3/4): makes the MAD of a normal distribution its standard deviation."""
SMALLEST_MAD = 1e-6
"""Share of the standard deviation below which a MAD counts as zero."""
REVIN_EPSILON = 1e-5
"""RevIN (Kim 2022), section 3."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What statistics are computed from.

    Attributes:
        info: the signal; scope "constant" reads the range of its type.
        values: the whole segment in its layout, [.. C]; scope "signal" reads them.
        windows: its windows [N C *s], not normalised; scope "window" reads them.
        mask: like `values`, True where the file held a value; None = everywhere.
    """

    info: SignalInfo
    values: NDArray[np.float32]
    windows: Windows
    mask: Mask | None = None


class Normalizer(ABC):
    """Statistics of signals, and what to do with them."""

    scope: ClassVar[Scope]

    @abstractmethod
    def statistics(self, segment: Segment) -> Affine:
        """Statistics of one segment.

        Returns:
            Shift and scale, [N C] for scope "window", else [1, channels of the segment or 1].

        Raises:
            DataError: the statistics can't be known.
        """

    def fit(self, segments: Iterable[tuple[NDArray[np.float32], Mask | None]]) -> Normalizer:
        """A normalizer that knows the training split's (values, mask); itself unless scope is "dataset"."""
        return self

    def to_arrays(self) -> dict[str, NDArray[np.float32]]:
        """What the run has to store: `normalizer.shift` and `normalizer.scale`, or nothing."""
        return {}

    def mix(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values [.. C] of a segment before windows are cut from them: each channel by itself, or mixtures.

        Raises:
            DataError: other channels than those of the training split.
        """
        return values

    def unmix(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Inverse of `mix`."""
        return values

    def apply(self, windows: Windows, affine: Affine) -> Windows:
        """Windows [N C *s] in the signal's unit -> network scale."""
        shift, scale = _aligned(affine, windows)
        with np.errstate(over="ignore"):  # the largest floats become infinite
            return (windows - shift) / scale

    def invert(self, windows: Windows, affine: Affine) -> Windows:
        """Windows [N C *s] in network scale -> the signal's unit."""
        shift, scale = _aligned(affine, windows)
        with np.errstate(over="ignore"):
            return windows * scale + shift


class MedianMad(Normalizer):
    """(x - median) / (1.4826 MAD) a channel, over the valid values of a segment.

    Where more than half of the values are (nearly) equal, as in a saturated read, the MAD says
    nothing: the standard deviation takes its place, and 1 where that is 0 too.
    """

    scope = "signal"

    def statistics(self, segment: Segment) -> Affine:
        columns = segment.values.reshape(-1, segment.values.shape[-1])
        valid = None if segment.mask is None else segment.mask.reshape(columns.shape)
        pairs = [
            _robust(columns[:, c] if valid is None else columns[valid[:, c], c])
            for c in range(columns.shape[1])
        ]
        shift, scale = np.array(pairs).T
        return _affine(shift[None], scale[None])


class Standard(Normalizer):
    """z-score a channel with the mean and the deviation of the training split.

    Args:
        affine: the fitted statistics [1 C]; None before `fit`.
    """

    scope = "dataset"

    def __init__(self, affine: Affine | None = None) -> None:
        self._affine = affine

    def fit(self, segments: Iterable[tuple[NDArray[np.float32], Mask | None]]) -> Standard:
        moments = Moments()
        for values, mask in segments:
            moments.add(values, mask)
        return Standard(_affine(moments.mean[None], moments.deviation[None]))

    def statistics(self, segment: Segment) -> Affine:
        affine = self._fitted
        _check_channels(segment.values.shape[-1], affine)
        return affine

    def to_arrays(self) -> dict[str, NDArray[np.float32]]:
        return {"normalizer.shift": self._fitted.shift, "normalizer.scale": self._fitted.scale}

    @property
    def _fitted(self) -> Affine:
        if self._affine is None:
            raise ValueError("the standard normalizer has not been fitted")
        return self._affine


class Principal(Normalizer):
    """z-score, then coordinates along the principal axes of the channels' steps, by the training split.

    An orthogonal transform across channels (Karhunen and Loeve): what several channels do at once is coded
    once, and an error of so many units in the mixtures is one of as many deviations in the channels.

    Args:
        affine: the fitted statistics [1 C]; None before `fit`.
        axes: orthonormal columns [C C]; None before `fit`.
    """

    scope = "dataset"

    def __init__(self, affine: Affine | None = None, axes: NDArray[np.float32] | None = None) -> None:
        self._affine, self._axes = affine, axes

    def fit(self, segments: Iterable[tuple[NDArray[np.float32], Mask | None]]) -> Principal:
        moments, steps = Moments(), Steps()
        for values, mask in segments:
            moments.add(values, mask)
            steps.add(values, mask)
        affine = _affine(moments.mean[None], moments.deviation[None])
        return Principal(affine, steps.axes(affine.scale[0].astype(np.float64)).astype(np.float32))

    def statistics(self, segment: Segment) -> Affine:
        _check_channels(segment.values.shape[-1], self._fitted[0])
        return _affine(np.zeros((1, 1)), np.ones((1, 1)))

    def mix(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        affine, axes = self._fitted
        _check_channels(values.shape[-1], affine)
        with np.errstate(over="ignore"):
            scored = (values.astype(np.float64) - affine.shift[0]) / affine.scale[0]
            mixed: NDArray[np.float32] = (scored @ axes).astype(np.float32)
        return mixed

    def unmix(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        affine, axes = self._fitted
        with np.errstate(over="ignore"):
            scored = values.astype(np.float64) @ axes.T
            single: NDArray[np.float32] = (scored * affine.scale[0] + affine.shift[0]).astype(np.float32)
        return single

    def to_arrays(self) -> dict[str, NDArray[np.float32]]:
        affine, axes = self._fitted
        return {
            "normalizer.shift": affine.shift,
            "normalizer.scale": affine.scale,
            "normalizer.axes": axes.astype(np.float32),
        }

    @property
    def _fitted(self) -> tuple[Affine, NDArray[np.float64]]:
        if self._affine is None or self._axes is None:
            raise ValueError("the principal normalizer has not been fitted")
        return self._affine, self._axes.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Revin(Normalizer):
    """Mean, or last value, and sqrt(biased variance around the mean + 1e-5) of each window and channel."""

    scope = "window"
    center: Literal["mean", "last"]

    def statistics(self, segment: Segment) -> Affine:
        flat = segment.windows.reshape(*segment.windows.shape[:2], -1)
        mean = flat.mean(axis=-1, dtype=np.float64)
        variance = np.square(flat - mean[..., None]).mean(axis=-1)
        center = mean if self.center == "mean" else flat[..., -1]
        return _affine(center, np.sqrt(variance + REVIN_EPSILON))


@dataclass(frozen=True, slots=True)
class Fixed(Normalizer):
    """A range to [-1, 1].

    Attributes:
        limits: low and high in the signal's unit; None = the range of each signal's native type.
    """

    scope = "constant"
    limits: tuple[float, float] | None

    def statistics(self, segment: Segment) -> Affine:
        limits = self.limits or segment.info.value_range
        if limits is None:
            raise DataError(
                "the fixed normalizer needs a range, and this kind of file has none",
                where="data.normalizer",
                how="give data.normalizer.low and data.normalizer.high, or choose another normalizer",
            )
        low, high = limits
        return _affine(np.array([[(low + high) / 2]]), np.array([[(high - low) / 2]]))


def make_normalizer(
    spec: SeriesNormalizerSpec, arrays: Mapping[str, NDArray[Any]] | None = None
) -> Normalizer:
    """The normalizer of a spec.

    Args:
        spec: which one.
        arrays: the run's statistics, as `to_arrays` gave them; None before training.
    """
    match spec:
        case MedianMadSpec():
            return MedianMad()
        case RevinSpec(center=center):
            return Revin(center)
        case FixedSpec(low=low, high=high):
            return Fixed(None if low is None or high is None else (low, high))
        case StandardSpec():
            return Standard(_stored(arrays))
        case PrincipalSpec():
            return Principal(_stored(arrays), None if arrays is None else arrays["normalizer.axes"])


def _stored(arrays: Mapping[str, NDArray[Any]] | None) -> Affine | None:
    """The statistics of a run; None before training."""
    return None if arrays is None else _affine(arrays["normalizer.shift"], arrays["normalizer.scale"])


def channel_of(affine: Affine, channel: int) -> Affine:
    """The statistics of one channel, [N or 1, 1]; those that all channels share stay."""
    if affine.shift.shape[1] == 1:
        return affine
    return Affine(affine.shift[:, channel, None], affine.scale[:, channel, None])


def _aligned(affine: Affine, windows: Windows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shift and scale with the axes of windows [N C *s].

    Statistics of a whole segment, [1 channels], meet windows of single channels, [N 1 *s]: there
    channels run fastest within N (`anycodec.data.window`).
    """
    n, c = windows.shape[:2]

    def align(part: NDArray[np.float32]) -> NDArray[np.float32]:
        if c == 1 and part.shape[0] == 1 and part.shape[1] > 1:
            part = np.tile(part.T, (n // part.shape[1], 1))
        return part.reshape(*part.shape, *[1] * (windows.ndim - 2))

    return align(affine.shift), align(affine.scale)


def _check_channels(found: int, affine: Affine) -> None:
    """Refuse other channels than statistics [1 C] are of."""
    trained = affine.shift.shape[1]
    if found != trained:
        raise DataError(
            f"the file has {found} channels, the run was trained on {trained}",
            how="use files with the columns of the training data, or data.normalizer.type=revin",
        )


def _robust(x: NDArray[np.float32]) -> tuple[float, float]:
    """Median and 1.4826 MAD of a column."""
    if not len(x):
        return 0.0, 1.0
    median = float(np.median(x))
    # against the rounded median that is stored; in float64 the difference is exact and never overflows
    distance = np.abs(x - np.float64(np.float32(median)))
    scale, deviation = MAD_TO_DEVIATION * float(np.median(distance)), float(x.std(dtype=np.float64))
    return median, scale if scale > SMALLEST_MAD * deviation else deviation


def _affine(shift: NDArray[Any], scale: NDArray[Any]) -> Affine:
    """Statistics as stored, within float32; a scale of (numerically) zero becomes 1."""
    most = np.finfo(np.float32).max
    rounded = np.minimum(scale, most).astype(np.float32)
    usable = rounded >= np.finfo(np.float32).tiny
    return Affine(np.clip(shift, -most, most).astype(np.float32), np.where(usable, rounded, np.float32(1)))
