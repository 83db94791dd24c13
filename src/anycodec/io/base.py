"""The contract of a file format: file <-> signals.

A new format is one module with one `Format` subclass and one line in `anycodec/io/formats.py`. The
contract suite in `tests/contracts/test_formats.py` enrols it by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from anycodec.config.data import SourceSpec
from anycodec.errors import DataError
from anycodec.io import text
from anycodec.io.values import cast
from anycodec.types import FileInfo, Signal, SignalInfo

Source = TypeVar("Source", bound=SourceSpec)


class Reader(ABC):
    """An open file. Use as a context manager."""

    info: FileInfo

    @abstractmethod
    def signals(self) -> Iterator[SignalInfo]:
        """Describe each signal in file order, without reading values."""

    @abstractmethod
    def segments(self, block: int) -> Iterator[Signal]:
        """Stream the whole file in order, at most `block` samples or frames a segment.

        Raises:
            DataError: the file turns out to be damaged.
        """

    @abstractmethod
    def fetch(self, index: int, start: int, stop: int) -> Signal:
        """Samples or frames [start, stop) of the signal at `index` in file order, exactly.

        Pictures take start 0, stop 1. A stop past the end is cut.
        """

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Format(ABC, Generic[Source]):
    """How files of one kind are read and written."""

    name: ClassVar[str]
    """Tag of the format = module name = `data.type`."""
    suffixes: ClassVar[tuple[str, ...]]
    """File names that it reads, lower case, with the dot."""

    @abstractmethod
    def open(self, path: Path, source: Source) -> Reader:
        """Open for reading.

        Raises:
            DataError: missing, empty, truncated, foreign, or at odds with `source`.
            MissingExtra: the library for this format is not installed.
        """

    @abstractmethod
    def write(self, path: Path, info: FileInfo, segments: Iterable[Signal]) -> None:
        """Write a native file from segments in order, streaming, atomically.

        `info` and each segment's `info.meta` are those that `open` gave for the original, after a
        journey through JSON. read -> write -> read is the identity on values of the native type.

        Raises:
            ResourceError: the disk is full.
        """

    def places(self, values: NDArray[Any], info: SignalInfo) -> NDArray[Any]:
        """Values of the signal `info` in steps of the numbers that the file stores: not rounded."""
        return values

    def values_at(self, places: NDArray[Any], info: SignalInfo) -> NDArray[Any]:
        """Inverse of `places` at whole numbers: exactly the values that `open` reads of them."""
        return places

    def step(self, info: SignalInfo) -> float | None:
        """Width of such a step in the signal's unit; None where `values` are what the file stores."""
        return None

    def join(self, file: FileInfo, more: FileInfo) -> FileInfo:
        """Describe a file that holds what another does after its own.

        Raises:
            DataError: files of this kind, or these two, can't be one.
        """
        raise DataError(
            f"{self.name} files can't be joined: one holds all that belongs together", where=more.path,
            how="compress each into a file of its own, into a folder with -o",
        )  # fmt: skip

    def goes_on(self, file: FileInfo) -> bool:
        """Whether files that are joined go on where the one signal of this file ends."""
        return False

    def placed(self, info: SignalInfo, file: FileInfo, more: FileInfo) -> SignalInfo:
        """A signal of the file `more` as one of `file`, which `join` gave."""
        return info

    def divisible(self, info: FileInfo) -> bool:
        """Whether a signal of the file may lack a stretch and still say what it said."""
        return True

    def part(self, info: FileInfo, lengths: Mapping[int, int]) -> FileInfo:
        """Describe a file that holds parts of another.

        Args:
            info: the other.
            lengths: samples or frames of each signal that it holds, by the signal's number, rising.
        """
        return replace(info, n_signals=len(lengths))

    def cut(self, signal: Signal, start: int, stop: int, info: FileInfo) -> Signal:
        """Samples or frames [start, stop) of a segment of the file `info`, counted from its first.

        Attachments are those of the whole segment here: formats that have some cut them as well.
        """
        if signal.info.axes == "HWC":
            return signal
        mask = None if signal.mask is None else signal.mask[start:stop]
        return replace(signal, values=signal.values[start:stop], start=signal.start + start, mask=mask)

    def native_type(self, info: SignalInfo) -> np.dtype[Any]:
        """Type of `native` values."""
        return np.dtype(info.dtype)

    def native(self, signal: Signal) -> NDArray[Any]:
        """Values of a segment in the signal's unit, of `native_type`, NaN where one is missing."""
        values = cast(signal.values, self.native_type(signal.info))
        return values if signal.mask is None else np.where(signal.mask, values, values.dtype.type(np.nan))

    def text(self, info: FileInfo, segments: Iterable[Signal]) -> Iterator[str]:
        """Series as text, piece by piece."""
        return text.rows(segments, self.native, several=info.n_signals > 1)

    @abstractmethod
    def restored_name(self, original: str, info: FileInfo) -> str:
        """File name for a restored file (JPEG pictures come back as .png, and so on)."""
