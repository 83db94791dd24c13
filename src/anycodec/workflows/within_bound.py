"""Compression with a guaranteed error bound, or without loss.

Each segment is coded in every way that could be the smallest: from the values before alone (by a line, or a
network for nanopore signals), by way of the codec, or as it is. The smallest is decoded again as
`decompress` would do it and checked against the original, value by value, before it is written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream import restoration
from anycodec.bitstream.container import AczWriter, Bound, SegmentData
from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.grid import Grid
from anycodec.bitstream.header import Unit
from anycodec.bitstream.limits import MOST_RESTORED
from anycodec.bitstream.network import Network
from anycodec.bitstream.segment import values_shape
from anycodec.errors import DataError, UserError
from anycodec.io.base import Format
from anycodec.io.formats import get_format
from anycodec.types import FileInfo, Signal, SignalInfo, Tokens
from anycodec.workflows.pipeline import Coded, Pipeline
from anycodec.workflows.predictors import leaves_noise, plain
from anycodec.workflows.prior_data import beside_of

Values = NDArray[np.generic]
AnyFormat = Format[Any]

_SHRINKS = (1.0, 1 - 1e-6, 0.999, 0.9, 0.5, 0.0)
"""Bounds to try, in E: what a file stores can be rounded once more."""
_PROBED_WINDOWS = 4
_WORTH = 1.2
"""Codec and residual of the probed stretch must be smaller than this, in bytes of the plain path."""
_ALWAYS_RAW = 2**12
"""Up to so many values, storing them as they are is tried as well."""


def make_bound(max_error: float | None, unit: Unit = "native", *, lossless: bool = False) -> Bound | None:
    """The bound that options ask for, None for tokens alone.

    Raises:
        UserError: they contradict each other, or E is not a number >= 0.
    """
    if lossless:
        if max_error is not None:
            raise UserError("--lossless and --max-error exclude each other", how="give one of them")
        return Bound(max_error=0.0)
    if max_error is None:
        return None
    if not (math.isfinite(max_error) and max_error >= 0):
        raise UserError(
            f"--max-error {max_error:g} is not a number of at least 0", how="give one such as 0.5"
        )
    return Bound(max_error=max_error, unit=unit)


def restored_values(
    pipeline: Pipeline, info: SignalInfo, segment: SegmentData, models: Mapping[int, Network]
) -> Values:
    """The values of a segment as the file's format writes them.

    Raises:
        Damaged: not a restoration of this segment.
        Mismatch: the codec restores other values than it did for the encoder.
    """
    form = get_format(pipeline.source.type)
    path = restoration.path_of(segment.restoration)
    codec = None
    if path == restoration.CODEC:
        if not len(segment.tokens):
            raise Damaged("a restoration by way of a codec without tokens")
        coded = Coded(segment.tokens, segment.affine)
        codec = _codec_places(pipeline, form, info, coded, segment.length)
    shape = values_shape(info, segment.length)
    found = restoration.unpack(segment.restoration, info.axes, shape, models, codec)
    return found if path == restoration.RAW else form.values_at(found, info)


def _codec_places(
    pipeline: Pipeline, form: AnyFormat, info: SignalInfo, coded: Coded, length: int
) -> NDArray[np.float64]:
    """What the codec restores, in steps of the file's numbers. Each segment is a stream of its own."""
    floats = pipeline.floats(coded, info, length)
    return np.asarray(form.places(floats, info), np.float64)


@dataclass(frozen=True, slots=True)
class _Gridded:
    """A segment on the grid of the bound."""

    grid: Grid
    numbers: NDArray[np.int64]


class BoundedEncoder:
    """Writes the segments of one file within a bound.

    Args:
        pipeline: the run.
        writer: the open file, whose header holds the bound.
        file: the native file.
        bound: what is promised of every value that is present.
    """

    def __init__(self, pipeline: Pipeline, writer: AczWriter, file: FileInfo, bound: Bound) -> None:
        self._pipeline, self._writer, self._bound = pipeline, writer, bound
        self._format: AnyFormat = get_format(pipeline.source.type)
        self._file = file

    def add(self, signal: Signal) -> None:
        """Code one segment, check it and write it.

        Raises:
            DataError: too many values, or not what the codec was trained for.
        """
        if signal.values.size > MOST_RESTORED:
            raise DataError(
                f"a segment of {signal.values.size} values is too large for an error bound",
                where=signal.info.id or None,
                how=f"cut it into parts of up to {MOST_RESTORED} values",
            )
        bounds = self._bounds(signal)
        gridded = self._gridded(signal, bounds)
        best = min(self._candidates(signal, gridded), key=self._size)
        restored = restored_values(self._pipeline, signal.info, best, {})
        if not _holds(signal, restored, bounds):
            raise AssertionError(f"signal {signal.info.id!r} from {signal.start} would exceed its bound")
        self._writer.add(signal.info, best)

    def estimate(self, signal: Signal) -> tuple[int, Values]:
        """Bytes of a segment by prediction alone, and its values restored; writes nothing."""
        gridded = self._gridded(signal, self._bounds(signal))
        if gridded is None:
            return len(restoration.pack_raw(signal.values)), signal.values
        size = len(self._plain(gridded, signal.info))
        return size, self._format.values_at(gridded.grid.values(gridded.numbers), signal.info)

    def _bounds(self, signal: Signal) -> list[float]:
        """E of each channel."""
        channels = signal.values.shape[-1]
        if self._bound.unit == "native":
            return [self._bound.max_error] * channels
        return [self._bound.max_error * _range(signal, channel) for channel in range(channels)]

    def _gridded(self, signal: Signal, bounds: Sequence[float]) -> _Gridded | None:
        """The coarsest grid that holds all values within the bounds after everything is rounded."""
        form, info = self._format, signal.info
        step = form.step(info)
        places = signal.values if step is None else np.rint(form.places(signal.values, info)).astype(np.int64)
        for shrink in _SHRINKS:
            grid = Grid.fit(places, [shrink * bound for bound in bounds], step or 1.0)
            if grid is None:
                return None
            numbers = grid.numbers(places)
            if _holds(signal, form.values_at(grid.values(numbers), info), bounds):
                return _Gridded(grid, numbers)
        return None

    def _candidates(self, signal: Signal, gridded: _Gridded | None) -> Iterator[SegmentData]:
        """Ways to code a segment, all within the bound."""
        if gridded is None or signal.values.size <= _ALWAYS_RAW:
            yield self._segment(signal, restoration.pack_raw(signal.values))
        if gridded is None:
            return
        line = self._plain(gridded, signal.info)
        yield self._segment(signal, line)
        listed = gridded.grid.listed(gridded.numbers) if signal.info.axes == "TC" else None
        if listed is not None:
            grid, ranks = listed
            yield self._segment(signal, self._plain(_Gridded(grid, ranks), signal.info))
        noise = leaves_noise(self._file.format, gridded.numbers, signal.info.axes, line)
        if noise or not self._codec_can_win(signal, gridded):
            return
        yield self._by_codec(signal, gridded)

    def _codec_can_win(self, signal: Signal, gridded: _Gridded) -> bool:
        """Whether to try the codec. It is slow: of a long series a short stretch tells what it is worth."""
        if not signal.values.size or np.abs(signal.values).max() > np.finfo(np.float32).max:
            return False
        length = _PROBED_WINDOWS * self._pipeline.windower.size[0]
        if signal.info.axes != "TC" or signal.length < 4 * length:
            return True
        start = (signal.length - length) // 2
        stretch = replace(signal, values=signal.values[start : start + length], mask=None, attachments={})
        numbers = gridded.numbers[start : start + length]
        probe = _Gridded(gridded.grid, numbers)
        return self._size(self._by_codec(stretch, probe)) < _WORTH * len(self._plain(probe, signal.info))

    def _plain(self, gridded: _Gridded, info: SignalInfo) -> bytes:
        """A segment by prediction alone."""
        return plain(self._file.format, gridded.numbers, gridded.grid, info.axes)

    def _by_codec(self, signal: Signal, gridded: _Gridded) -> SegmentData:
        """A segment by way of the codec."""
        coded = self._pipeline.encode(signal)
        places = _codec_places(self._pipeline, self._format, signal.info, coded, signal.length)
        grid, axes = gridded.grid, signal.info.axes
        return self._segment(
            signal, restoration.pack_codec(gridded.numbers, grid, axes, grid.places_of(places)), coded
        )

    def _segment(self, signal: Signal, data: bytes, coded: Coded | None = None) -> SegmentData:
        sizes = self._pipeline.codec.codebook_sizes
        none = Tokens(tuple(np.zeros(0, np.int64) for _ in sizes), sizes)
        return SegmentData(
            start=signal.start,
            length=signal.length,
            tokens=none if coded is None else coded.tokens,
            affine=None if coded is None else coded.affine,
            mask=signal.mask,
            attachments=signal.attachments,
            restoration=data,
            beside=beside_of(self._pipeline, signal.info, signal.length),
        )

    def _size(self, segment: SegmentData) -> int:
        """Bytes of tokens, statistics and restoration."""
        coder = self._pipeline.coder
        grids = segment.tokens.grids
        size = len(segment.restoration)
        if len(segment.tokens):
            size += sum(
                len(coder.encode(grid.ravel(), level, window=grid[:1].size))
                for level, grid in enumerate(grids)
            )
        return size + (0 if segment.affine is None else 8 * segment.affine.shift.size)


def _range(signal: Signal, channel: int) -> float:
    """Highest minus lowest of the values that are present."""
    values = signal.values[..., channel]
    present = values if signal.mask is None else values[signal.mask[..., channel]]
    return float(present.max()) - float(present.min()) if present.size else 0.0


def _holds(signal: Signal, restored: Values, bounds: Sequence[float]) -> bool:
    """Whether every value that is present is within its bound."""
    for channel, bound in enumerate(bounds):
        original, found = signal.values[..., channel], restored[..., channel]
        if signal.mask is not None:
            present = signal.mask[..., channel]
            original, found = original[present], found[present]
        if bound == 0:
            if not np.array_equal(original, found):
                return False
        elif original.dtype.kind in "iub" and found.dtype.kind in "iub":
            if (np.abs(original.astype(np.int64) - found.astype(np.int64)) > bound).any():
                return False
        elif not (np.abs(original.astype(np.float64) - found.astype(np.float64)) <= bound).all():
            return False
    return True
