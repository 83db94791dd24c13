"""NumPy arrays: .npy (memory-mapped) and .npz <-> signals [T C]. Never pickles.

layout   array      signals
t        [T]        one, C = 1
tc       [T C]      one
nct      [N C T]    N
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from anycodec.atomic import atomic_path
from anycodec.config.data import ArraySource
from anycodec.errors import DataError
from anycodec.io.base import Format, Reader
from anycodec.io.discover import label_of
from anycodec.io.values import blocks, cast, fill_gaps, restore_gaps
from anycodec.types import FileInfo, Signal, SignalInfo

MOST_MEMBER_BYTES = 2**32
"""An array inside an .npz is read as a whole; larger ones are refused."""

Layout = Literal["t", "tc", "nct"]
_AXES: dict[str, int] = {"t": 1, "tc": 2, "nct": 3}
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_DAMAGE = (OSError, ValueError, LookupError, TypeError, SyntaxError, EOFError, OverflowError, MemoryError)
_ZIP_DAMAGE = (zipfile.BadZipFile, tokenize.TokenError, zlib.error, NotImplementedError, RuntimeError)


class ArrayFormat(Format[ArraySource]):
    """NumPy files."""

    name = "array"
    suffixes = (".npy", ".npz")

    def open(self, path: Path, source: ArraySource) -> ArrayReader:
        return ArrayReader(path, source)

    def write(self, path: Path, info: FileInfo, segments: Iterable[Signal]) -> None:
        layout, members = info.meta["layout"], [_Member.of(entry) for entry in info.meta["arrays"]]
        with atomic_path(path) as temporary:
            if info.meta["compressed"] is None:
                with temporary.open("wb") as file:
                    _write_npy(file, members[0], layout, segments)
                return
            kind = zipfile.ZIP_DEFLATED if info.meta["compressed"] else zipfile.ZIP_STORED
            with zipfile.ZipFile(temporary, "w", kind) as archive:
                remaining = iter(segments)
                for member in members:
                    array = _assemble(member, layout, remaining)
                    with archive.open(f"{member.key}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, array, allow_pickle=False)

    def divisible(self, info: FileInfo) -> bool:
        return str(info.meta["layout"]) != "nct"

    def part(self, info: FileInfo, lengths: Mapping[int, int]) -> FileInfo:
        layout: Layout = info.meta["layout"]
        members, first = [], 0
        for member in map(_Member.of, info.meta["arrays"]):
            last = first + len(member.signal_shapes(layout))
            kept = [length for number, length in lengths.items() if first <= number < last]
            if kept:
                shape = (
                    (len(kept), member.shape[1], max(kept))
                    if layout == "nct"
                    else (kept[0], *member.shape[1:])
                )
                members.append(_Member(member.key, member.dtype, shape).entry())
            first = last
        return replace(info, n_signals=len(lengths), meta={**info.meta, "arrays": members})

    def cut(self, signal: Signal, start: int, stop: int, info: FileInfo) -> Signal:
        found = super().cut(signal, start, stop, info)
        if signal.mask is None:
            return found
        gaps = restore_gaps(signal.values, signal.mask, signal.attachments)[start:stop]
        values, mask, attachments = fill_gaps(gaps)
        return replace(found, values=values, mask=mask, attachments=attachments)

    def native(self, signal: Signal) -> NDArray[Any]:
        return _native(signal, self.native_type(signal.info))

    def restored_name(self, original: str, info: FileInfo) -> str:
        return original


@dataclass(frozen=True, slots=True)
class _Member:
    """An array of a file: its name ("" in .npy), type and shape."""

    key: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> _Member:
        return cls(entry["key"], np.dtype(entry["dtype"]), tuple(entry["shape"]))

    def entry(self) -> dict[str, Any]:
        return {"key": self.key, "dtype": self.dtype.str, "shape": list(self.shape)}

    def signal_shapes(self, layout: Layout) -> list[tuple[int, int]]:
        """[T C] of each of its signals."""
        if layout == "t":
            return [(self.shape[0], 1)]
        if layout == "tc":
            return [(self.shape[0], self.shape[1])]
        return [(self.shape[2], self.shape[1])] * self.shape[0]


class ArrayReader(Reader):
    """An open .npy or .npz file."""

    def __init__(self, path: Path, source: ArraySource) -> None:
        self._path, self._layout, self._rate = path, source.layout, source.sample_rate
        self._label = label_of(path, source.root)
        self._archive: Any = None
        with _damage(path):
            loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        compressed = None
        if isinstance(loaded, np.ndarray):
            self._members = [_Member("", loaded.dtype, loaded.shape)]
            self._loaded: tuple[int, NDArray[Any]] = (0, loaded)
        else:
            self._archive = loaded
            with self._closing():
                self._members, compressed = _npz_members(path)
            self._loaded = (-1, np.empty(0))
        with self._closing():
            for member in self._members:
                _check(member, self._layout, path)
        counts = [len(member.signal_shapes(self._layout)) for member in self._members]
        self._ends = list(accumulate(counts))
        meta = {
            "layout": self._layout,
            "compressed": compressed,
            "arrays": [member.entry() for member in self._members],
        }
        self.info = FileInfo(path=str(path), format="array", n_signals=self._ends[-1], meta=meta)

    def signals(self) -> Iterator[SignalInfo]:
        for member in self._members:
            for index, shape in enumerate(member.signal_shapes(self._layout)):
                yield self._describe(member, index, shape)

    def segments(self, block: int) -> Iterator[Signal]:
        for number, member in enumerate(self._members):
            for index, shape in enumerate(member.signal_shapes(self._layout)):
                info = self._describe(member, index, shape)
                for start, stop in blocks(info.length, block):
                    yield self._segment(number, index, info, start, stop)

    def fetch(self, index: int, start: int, stop: int) -> Signal:
        number = int(np.searchsorted(self._ends, index, side="right"))
        within = index - (self._ends[number - 1] if number else 0)
        member = self._members[number]
        info = self._describe(member, within, member.signal_shapes(self._layout)[within])
        return self._segment(number, within, info, start, min(stop, info.length))

    def close(self) -> None:
        if self._archive is not None:
            self._archive.close()
        self._loaded = (-1, np.empty(0))

    def _describe(self, member: _Member, index: int, shape: tuple[int, int]) -> SignalInfo:
        parts = [member.key, str(index)] if self._layout == "nct" else [member.key]
        return SignalInfo(
            id="/".join(part for part in parts if part),
            axes="TC",
            shape=shape,
            dtype=member.dtype.name,
            rate=self._rate,
            channels=tuple(str(channel) for channel in range(shape[1])),
            label=self._label,
        )

    def _segment(self, number: int, index: int, info: SignalInfo, start: int, stop: int) -> Signal:
        stretch = _stretch(self._array(number), self._layout, index, start, stop)
        native = np.array(stretch, dtype=stretch.dtype.newbyteorder("="), order="C")
        values, mask, attachments = fill_gaps(native)
        return Signal(info=info, values=values, start=start, mask=mask, attachments=attachments)

    def _array(self, number: int) -> NDArray[Any]:
        """An array of the file; of an .npz the one used last stays in memory."""
        if self._loaded[0] != number:
            with _damage(self._path):
                self._loaded = (number, self._archive[self._members[number].key])
        return self._loaded[1]

    @contextmanager
    def _closing(self) -> Iterator[None]:
        """Close the file if the block fails."""
        try:
            with _damage(self._path):
                yield
        except DataError:
            self.close()
            raise


def _stretch(array: NDArray[Any], layout: Layout, index: int, start: int, stop: int) -> NDArray[Any]:
    """Samples [start, stop) of a signal as a view [T C]."""
    if layout == "nct":
        return array[index, :, start:stop].T
    return array[start:stop, None] if layout == "t" else array[start:stop]


def _npz_members(path: Path) -> tuple[list[_Member], bool]:
    """The arrays of an .npz from their headers, and whether they are compressed."""
    members = []
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
        for entry in entries:
            if entry.file_size > MOST_MEMBER_BYTES:
                raise DataError(
                    f"the array {entry.filename} has {entry.file_size} bytes, too many for an .npz",
                    where=str(path),
                    how="store it as a file of its own (.npy)",
                )
            with archive.open(entry) as file:
                shape, _, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
            members.append(_Member(entry.filename.removesuffix(".npy"), dtype, shape))
    if not members:
        raise DataError("the file holds no array", where=str(path))
    return members, any(entry.compress_type == zipfile.ZIP_DEFLATED for entry in entries)


def _check(member: _Member, layout: Layout, path: Path) -> None:
    name = f"{path} {member.key}".strip()
    if len(member.shape) != _AXES[layout]:
        raise DataError(
            f"the array has {len(member.shape)} axes, {list(member.shape)}; "
            f"data.layout {layout!r} means {_AXES[layout]}",
            where=name,
            how="set data.layout to t, tc or nct",
        )
    if member.dtype.kind not in "fiub":
        raise DataError(f"values of type {member.dtype} can't be coded", where=name, how="use numbers")


def _write_npy(file: BinaryIO, member: _Member, layout: Layout, segments: Iterable[Signal]) -> None:
    """Write an .npy as segments arrive; "nct" places each channel where it belongs."""
    header = {"descr": member.dtype.str, "fortran_order": False, "shape": member.shape}
    np.lib.format.write_array_header_2_0(file, header)
    base, size = file.tell(), member.dtype.itemsize
    index = -1
    for segment in segments:
        index += segment.start == 0
        native = _native(segment, member.dtype)
        if layout != "nct":
            file.write(native.tobytes())
            continue
        _, channels, length = member.shape
        for channel in range(channels):
            file.seek(base + ((index * channels + channel) * length + segment.start) * size)
            file.write(native[:, channel].tobytes())


def _assemble(member: _Member, layout: Layout, segments: Iterator[Signal]) -> NDArray[Any]:
    """Take the segments of one array from the stream."""
    array = np.zeros(member.shape, member.dtype)
    for index, (length, _) in enumerate(member.signal_shapes(layout)):
        position = 0
        while position < max(1, length):
            segment = next(segments)
            stop = segment.start + segment.length
            _stretch(array, layout, index, segment.start, stop)[...] = _native(segment, member.dtype)
            position = max(1, stop)
    return array


def _native(segment: Signal, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values [T C] of the native type, with their gaps."""
    values = cast(segment.values, dtype)
    return restore_gaps(values, segment.mask, segment.attachments) if dtype.kind == "f" else values


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what NumPy raises on damaged files into a DataError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError("the file does not exist", where=str(path)) from error
    except _DAMAGE + _ZIP_DAMAGE as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"not a usable NumPy file, it is truncated, damaged or of another kind ({detail})",
            where=str(path),
            how="write it again with numpy.save (no objects), or leave it out with data.exclude",
        ) from error
