"""The contract of a file format: file <-> signals.

A new format is one module with one `Format` subclass and one line in `anycodec/io/formats.py`. The
contract suite in `tests/contracts/test_formats.py` enrols it by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from numpy.typing import NDArray

from anycodec.config.data import SourceSpec
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

    @abstractmethod
    def restored_name(self, original: str, info: FileInfo) -> str:
        """File name for a restored file (JPEG pictures come back as .png, and so on)."""
