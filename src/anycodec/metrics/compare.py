"""Two native files by content: the original and what came back, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anycodec.errors import DataError
from anycodec.io.base import Reader
from anycodec.metrics.image import ImageMetrics, ImageScores
from anycodec.metrics.signal import PooledMetrics, SignalMetrics, SignalScores
from anycodec.types import Axes, Signal, SignalInfo

BLOCK: Mapping[Axes, int] = {"TC": 1 << 18, "HWC": 1, "THWC": 8}
"""Samples or frames held at a time, by axes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a restored file differs from its original, in the original's unit.

    Attributes:
        pooled: errors over all signals.
        median_snr: median of the signals' SNR, dB.
        signals: errors of each signal by id.
        image: PSNR and SSIM over all pictures or frames, None for 1-D signals.
        missing: ids that the restored file lacks.
        added: ids that only the restored file has.
    """

    pooled: SignalScores
    median_snr: float
    signals: Mapping[str, SignalScores]
    image: ImageScores | None
    missing: tuple[str, ...]
    added: tuple[str, ...]


def compare(original: Reader, restored: Reader) -> Comparison:
    """Compare all signals that two open files share, paired by id.

    Values that the original marks as missing are left out.

    Raises:
        DataError: a signal has another shape, or a file is damaged.
    """
    ours = {info.id: (index, info) for index, info in enumerate(original.signals())}
    theirs = {info.id: (index, info) for index, info in enumerate(restored.signals())}
    total, image, signals = PooledMetrics(), _image_metrics(ours), {}
    for name, (index, info) in ours.items():
        if name not in theirs:
            continue
        other, other_info = theirs[name]
        _same_channels(info, other_info, restored)
        signal = SignalMetrics()
        length = max(info.length, other_info.length)
        for start, stop in _blocks(info.axes, length):
            x, y = original.fetch(index, start, stop), restored.fetch(other, start, stop)
            _same_shape(x, y, restored)
            signal.update(x.values, y.values, x.mask)
            if image is not None:
                image.update(_frames(x), _frames(y))
        signals[name] = total.add(signal)
    return Comparison(
        pooled=total.result(),
        median_snr=total.median_snr,
        signals=signals,
        image=None if image is None else image.result(),
        missing=tuple(name for name in ours if name not in theirs),
        added=tuple(name for name in theirs if name not in ours),
    )


def data_range(info: SignalInfo) -> float:
    """Highest minus lowest value of the signal's type.

    Raises:
        DataError: the signal's type has no range.
    """
    if info.value_range is None:
        raise DataError("PSNR needs the range of the values, and this picture has none", where=info.id)
    low, high = info.value_range
    return high - low


def _image_metrics(signals: Mapping[str, tuple[int, SignalInfo]]) -> ImageMetrics | None:
    first = next((info for _, info in signals.values()), None)
    return None if first is None or first.axes == "TC" else ImageMetrics(data_range(first))


def _blocks(axes: Axes, length: int) -> Iterator[tuple[int, int]]:
    block = BLOCK[axes]
    return ((start, min(start + block, length)) for start in range(0, length, block))


def _frames(signal: Signal) -> NDArray[np.generic]:
    """[H W C] or [T H W C] -> [N H W C]."""
    return signal.values[None] if signal.info.axes == "HWC" else signal.values


def _same_channels(original: SignalInfo, restored: SignalInfo, reader: Reader) -> None:
    if original.axes != restored.axes or original.n_channels != restored.n_channels:
        raise DataError(
            f"signal {original.id!r} is {original.axes} with {original.n_channels} channels, "
            f"restored it is {restored.axes} with {restored.n_channels}",
            where=reader.info.path,
            how="compare a file with the one that was restored from it",
        )


def _same_shape(x: Signal, y: Signal, reader: Reader) -> None:
    if x.values.shape != y.values.shape:
        raise DataError(
            f"signal {x.info.id!r} has {x.values.shape} values from {x.start}, restored {y.values.shape}",
            where=reader.info.path,
            how="compare a file with the one that was restored from it",
        )
