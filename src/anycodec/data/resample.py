"""Signals at another sampling rate than their file's, computed as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anycodec.config.data import DataSpec, Pod5Source
from anycodec.io.base import Reader
from anycodec.io.formats import open_file
from anycodec.types import Signal, SignalInfo

_FINEST = 10_000
"""Largest denominator of a ratio of rates."""
_HALF_LENGTH = 10
"""Zero crossings of the filter on each side."""


def open_at_rate(path: Path, source: DataSpec) -> Reader:
    """Open a file; reads come at `data.sample_rate` where `data.rates` says so. Picklable.

    Raises:
        DataError: see `anycodec.io.formats.open_file`.
    """
    reader = open_file(path, source)
    if isinstance(source, Pod5Source) and source.rates == "resample" and source.sample_rate is not None:
        return Resampled(reader, source.sample_rate)
    return reader


class Resampled(Reader):
    """An open file whose signals [T C] have one rate.

    A windowed sinc (Kaiser, beta 5) below the lower of the two Nyquist frequencies. Any stretch comes out
    as it would from the whole signal; beyond its ends a signal keeps its last value.

    Args:
        reader: of the file.
        rate: Hz.
    """

    def __init__(self, reader: Reader, rate: float) -> None:
        self._reader, self._rate = reader, rate
        self.info = reader.info

    def signals(self) -> Iterator[SignalInfo]:
        return map(self._described, self._reader.signals())

    def segments(self, block: int) -> Iterator[Signal]:
        for index, info in enumerate(self.signals()):
            for start in range(0, max(1, info.length), block):
                yield self.fetch(index, start, min(start + block, info.length))

    def fetch(self, index: int, start: int, stop: int) -> Signal:
        native = self._reader.fetch(index, 0, 0).info
        ratio, info = self._ratio(native), self._described(native)
        if ratio == 1:
            return self._reader.fetch(index, start, stop)
        stop = min(stop, info.length)
        start = min(start, stop)
        up, down = ratio.numerator, ratio.denominator
        reach = _HALF_LENGTH * max(up, down) // up + 2
        # a source stretch that begins at a multiple of `down` lies on the grid of the whole signal
        first = max(0, start * down // up - reach) // down * down
        last = min(native.length, -(-stop * down // up) + reach)
        values = resampled(self._reader.fetch(index, first, last).values, up, down)
        offset = first // down * up
        return Signal(info=info, values=values[start - offset : stop - offset], start=start)

    def close(self) -> None:
        self._reader.close()

    def _ratio(self, native: SignalInfo) -> Fraction:
        """New over old rate; 1 where the rate is not known."""
        if native.rate is None:
            return Fraction(1)
        return Fraction(self._rate / native.rate).limit_denominator(_FINEST)

    def _described(self, native: SignalInfo) -> SignalInfo:
        ratio = self._ratio(native)
        if ratio == 1:
            return native
        length, *rest = native.shape
        return replace(
            native, rate=self._rate, shape=(-(-length * ratio.numerator // ratio.denominator), *rest)
        )


def resampled(values: NDArray[np.float32], up: int, down: int) -> NDArray[np.float32]:
    """Values [T C] at up / down times their rate, [ceil(T up / down) C]."""
    from scipy.signal import resample_poly

    if not len(values):
        return values
    found: NDArray[np.float32] = resample_poly(values, up, down, axis=0, padtype="edge")
    return found.astype(np.float32, copy=False)
