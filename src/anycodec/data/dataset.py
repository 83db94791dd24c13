"""Windows of one split, as the trainer asks for them.

Training windows are random crops, validation windows a fixed grid, both of the same box: samples
(and channels where each is coded by itself) of a 1-D signal, rows and columns of a picture, frames,
rows and columns of a video.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.config.data import DataSpec, ImageSource, VideoSource
from anycodec.data.catalog import Entry
from anycodec.data.channels import codec_values
from anycodec.data.normalize import Mask, Normalizer, Segment, channel_of
from anycodec.data.readers import OpenFile, Readers
from anycodec.data.sampler import ITEM_STREAM, full_order, generator, subset_order
from anycodec.data.split import Piece
from anycodec.data.window import Windower
from anycodec.engine import Windows
from anycodec.errors import DataError
from anycodec.types import Affine, Signal

HELD_VALUES = 2**26
"""A split of no more values than this is kept decoded in the memory of each process."""
MOST_STATISTICS = 2**17
"""Segments whose statistics each process remembers."""
MOST_DAMAGED = 16
"""Unreadable pieces in a row that are passed over where `on_error` is "skip"."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlacedWindows:
    """The windows of an item, and where they are from.

    Attributes:
        windows: [k C *s], normalised.
        affine: the statistics used, [k or 1, C or 1].
        piece: the signal.
        origin: where the box of the item begins in the piece, along each of its extents.
    """

    windows: Windows
    affine: Affine
    piece: Piece
    origin: tuple[int, ...]


class WindowDataset:
    """Windows of one split, normalised: `anycodec.engine.TrainingWindows`.

    Picklable; opens files in the process that uses it. Small splits are read once and kept; of
    larger ones each item reads its own stretch.

    Args:
        pieces: parts of signals, at least one.
        source: where they come from and how they are cut.
        normalizer: to network scale, fitted.
        open_file: how files are opened.
        training: random crops; else a fixed grid.
        seed: seed of crops and order.
        axes: the codec's; None = the source's usual ones.
        classes: names of the classes, in the order of their numbers.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        source: DataSpec,
        normalizer: Normalizer,
        open_file: OpenFile,
        *,
        training: bool,
        seed: int,
        axes: str | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        self.pieces = tuple(pieces)
        self._class_numbers = {name: number for number, name in enumerate(classes)}
        self._source, self._normalizer, self._training, self._seed = source, normalizer, training, seed
        self._windower = Windower(source, axes)
        self._size = _crop_size(source, self._windower)
        self._signals = _Signals(self.pieces, Readers(source, open_file))
        self._statistics: dict[tuple[str, int, int], Affine] = {}
        self._counts = np.array([math.prod(self._grid(piece)) for piece in self.pieces], np.int64)
        self._ends = np.cumsum(self._counts)

    def __len__(self) -> int:
        """Items of one epoch."""
        total, share = int(self._ends[-1]), self._files_share
        return total if share is None else max(1, round(total * share))

    def epoch_order(self, epoch: int) -> NDArray[np.int64]:
        """Items of an epoch in order: shuffled for training, the grid for validation."""
        if not self._training:
            return np.arange(len(self))
        if self._files_share is None or self._source.files_per_epoch is None:
            return full_order(len(self), self._seed, epoch)
        files = np.repeat(self._file_numbers(), self._counts)
        return subset_order(files, len(self), self._source.files_per_epoch, self._seed, epoch)

    def item(self, epoch: int, index: int) -> Windows:
        """Item `index` of `epoch`, [k C *s]; k > 1: the folded frames of a clip.

        Raises:
            DataError: a file is damaged and `on_error` is "refuse", or too many are.
        """
        return self.labelled_item(epoch, index)[0]

    def labelled_item(self, epoch: int, index: int) -> tuple[Windows, int]:
        """`item`, and the number of its class, -1 where it has none."""
        for attempt in range(MOST_DAMAGED):
            number = int(np.searchsorted(self._ends, index, side="right"))
            try:
                piece = self.pieces[number]
                windows = self._window(piece, self._origin(number, epoch, index)).windows
                return windows, self._class_numbers.get(piece.label or "", -1)
            except DataError as error:
                self._pass_over(error, last=attempt == MOST_DAMAGED - 1)
                index = int(self._ends[number]) % int(self._ends[-1])
        raise AssertionError("unreachable")

    def placed(self, index: int) -> PlacedWindows:
        """Item `index` with its place; of a training split, of its first epoch.

        Raises:
            DataError: its file is damaged.
        """
        number = self.piece_of(index)
        return self._window(self.pieces[number], self._origin(number, 0, index))

    def piece_of(self, index: int) -> int:
        """Number of the piece that an item is cut from."""
        return int(np.searchsorted(self._ends, index, side="right"))

    def segments(self) -> Iterator[tuple[NDArray[np.float32], Mask | None]]:
        """All values of the pieces and their masks, a block at a time: what normalizers are fitted on."""
        for piece in self.pieces:
            try:
                yield from self._piece_segments(piece)
            except DataError as error:
                self._pass_over(error)

    def _piece_segments(self, piece: Piece) -> Iterator[tuple[NDArray[np.float32], Mask | None]]:
        block = self._windower.block(piece.entry)
        for start in range(piece.start, piece.stop, block):
            signal = self._signals.fetch(piece.entry, start, min(start + block, piece.stop))
            yield self._codec_values(signal.values, piece.path), signal.mask

    def _pass_over(self, error: DataError, last: bool = False) -> None:
        """Note a piece that can't be read, or give up."""
        if self._source.on_error == "refuse" or last:
            raise error
        _log.warning("passed over: %s", error)

    def close(self) -> None:
        """Close open files and forget what was read."""
        self._signals.close()

    def _origin(self, number: int, epoch: int, index: int) -> list[int]:
        """Where in its piece the box of an item begins."""
        piece = self.pieces[number]
        if self._training:
            random = generator(self._seed, ITEM_STREAM, epoch, index)
            room = [max(0, extent - size) for extent, size in zip(self._box(piece), self._size, strict=True)]
            return [int(place) for place in random.integers(0, room, endpoint=True)]
        first = int(self._ends[number] - self._counts[number])
        cell = np.unravel_index(index - first, self._grid(piece))
        return [int(place) * size for place, size in zip(cell, self._size, strict=True)]

    def _window(self, piece: Piece, origin: Sequence[int]) -> PlacedWindows:
        """The box at `origin` as normalised windows."""
        if piece.entry.axes == "HWC":
            start, stop, inner = 0, 1, [slice(o, o + s) for o, s in zip(origin, self._size, strict=True)]
        else:
            start = piece.start + origin[0]
            stop = min(start + self._size[0], piece.stop)
            inner = [slice(None), *(slice(o, o + s) for o, s in zip(origin[1:], self._size[1:], strict=True))]
        signal = self._signals.fetch(piece.entry, start, stop)
        if self._windower.independent:
            values = self._normalizer.mix(self._codec_values(signal.values, piece.path))
            windows = self._windower.cut(values[tuple(inner)])
        else:
            values = self._normalizer.mix(self._codec_values(signal.values[tuple(inner)], piece.path))
            windows = self._full_clip(self._windower.cut(values))
        if self._normalizer.scope == "signal":
            affine = self._block_statistics(piece.entry, start)
        else:
            affine = self._normalizer.statistics(Segment(signal.info, values, windows))
        if self._windower.independent:
            affine = channel_of(affine, origin[1])
        return PlacedWindows(self._normalizer.apply(windows, affine), affine, piece, tuple(origin))

    def _full_clip(self, windows: Windows) -> Windows:
        """A clip of a video that is too short repeats its last frame."""
        missing = _folded_frames(self._source, self._windower) - len(windows)
        return np.concatenate([windows, *[windows[-1:]] * missing]) if missing > 0 else windows

    def _block_statistics(self, entry: Entry, position: int) -> Affine:
        """Statistics of the segment that compression would code this position in."""
        block = self._windower.block(entry)
        number = position // block
        key = (entry.path, entry.signal, number)
        if key not in self._statistics:
            if len(self._statistics) >= MOST_STATISTICS:
                del self._statistics[next(iter(self._statistics))]
            signal = self._signals.fetch(entry, number * block, min((number + 1) * block, entry.length))
            values = self._codec_values(signal.values, entry.path)
            segment = Segment(signal.info, values, np.zeros((0, 0, 0), np.float32), signal.mask)
            self._statistics[key] = self._normalizer.statistics(segment)
        return self._statistics[key]

    def _codec_values(self, values: NDArray[Any], path: str) -> NDArray[np.float32]:
        if isinstance(self._source, ImageSource):
            return codec_values(values, 3 if self._source.mode == "rgb" else 1, path)
        return values.astype(np.float32, copy=False)

    def _box(self, piece: Piece) -> tuple[int, ...]:
        """Extents that a crop moves in."""
        shape = piece.entry.shape
        if piece.entry.axes == "HWC":
            return shape[:2]
        inner = shape[1:] if self._windower.independent else shape[1:-1]
        return (piece.length, *inner)

    def _grid(self, piece: Piece) -> tuple[int, ...]:
        """Whole crops along each extent, at least one."""
        return tuple(
            max(1, extent // size) for extent, size in zip(self._box(piece), self._size, strict=True)
        )

    @property
    def _files_share(self) -> float | None:
        """Share of the files that an epoch sees, None = all."""
        wanted = self._source.files_per_epoch if self._training else None
        if wanted is None:
            return None
        files = len({piece.path for piece in self.pieces})
        return wanted / files if wanted < files else None

    def _file_numbers(self) -> NDArray[np.int64]:
        """The file of each piece, numbered from 0."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(piece.path, len(numbers)) for piece in self.pieces], np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_statistics": {}}


class _Signals:
    """Reads stretches of signals; keeps whole ones decoded where all of them fit into memory."""

    def __init__(self, pieces: Sequence[Piece], readers: Readers) -> None:
        values = {(piece.path, piece.signal): math.prod(piece.entry.shape) for piece in pieces}
        self._hold = sum(values.values()) <= HELD_VALUES
        self._held: dict[tuple[str, int], Signal] = {}
        self._readers = readers

    def fetch(self, entry: Entry, start: int, stop: int) -> Signal:
        """Samples or frames [start, stop) of a signal, at least one.

        Raises:
            DataError: the file is damaged, or shorter than it says.
        """
        if not self._hold:
            signal = self._readers.fetch(entry.path, entry.signal, start, stop)
        else:
            signal = self._whole(entry)
            if entry.axes != "HWC":
                mask = None if signal.mask is None else signal.mask[start:stop]
                signal = replace(signal, values=signal.values[start:stop], start=start, mask=mask)
        if not len(signal.values):
            raise DataError("the signal is shorter than its file says", where=f"{entry.path} {entry.id}")
        return signal

    def close(self) -> None:
        self._held.clear()
        self._readers.close()

    def _whole(self, entry: Entry) -> Signal:
        key = (entry.path, entry.signal)
        if key not in self._held:
            signal = self._readers.fetch(entry.path, entry.signal, 0, entry.length)
            values = signal.values.astype(np.float32) if signal.values.dtype == np.float64 else signal.values
            self._held[key] = replace(signal, values=values, attachments={})
        return self._held[key]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_held": {}}


def _crop_size(source: DataSpec, windower: Windower) -> tuple[int, ...]:
    """Size of a crop along the extents of `WindowDataset._box`."""
    if isinstance(source, VideoSource) and not windower.clips:
        return (source.window.frames, *windower.size)
    return (*windower.size, 1) if windower.independent else windower.size


def _folded_frames(source: DataSpec, windower: Windower) -> int:
    """Windows of an item: the frames of a clip, where each is a window."""
    return source.window.frames if isinstance(source, VideoSource) and not windower.clips else 1
