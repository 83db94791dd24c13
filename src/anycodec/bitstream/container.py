"""`.acz` files, versions 1 and 2: one native file as tokens and everything needed to restore it.

Written and read as a stream with one segment in memory at a time. FORMAT.md is the specification.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from anycodec.atomic import atomic_path
from anycodec.bitstream.dictionary import PRESET
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.bitstream.frame import (
    RESTORING,
    TOKENS_ONLY,
    Kind,
    write_prologue,
    write_section,
    write_trailer,
)
from anycodec.bitstream.header import Bound, Header, pack_brief, pack_header
from anycodec.bitstream.index import Entry, may_lack_index, pack_index
from anycodec.bitstream.limits import INDEXED, MOST_MODELS
from anycodec.bitstream.network import Network, pack_model
from anycodec.bitstream.reader import AczReader
from anycodec.bitstream.restoration import path_of
from anycodec.bitstream.segment import PackedSegment, SegmentData, pack_segment
from anycodec.bitstream.signal_info import SignalCoder
from anycodec.bitstream.totals import Totals, pack_totals
from anycodec.types import SignalInfo

__all__ = ["AczReader", "AczWriter", "Bound", "Header", "PackedSegment", "SegmentData", "Totals"]


class AczWriter:
    """Writes a file, atomically: it appears when the context ends without an exception.

    Args:
        path: the file to write.
        header: see `Header`.
        coder: entropy coder of the run.
        version: of the format; the first one for files that others of that version go into.

    Raises:
        ValueError: the coder has other codebooks than the header, or the version lacks what the header needs.
        ResourceError: the disk is full.
    """

    def __init__(
        self, path: str | Path, header: Header, coder: AdaptiveCoder, *, version: int = RESTORING
    ) -> None:
        if header.codebook_sizes != coder.codebook_sizes:
            raise ValueError(f"codebooks {header.codebook_sizes}, the coder has {coder.codebook_sizes}")
        if version == TOKENS_ONLY and header.requires:
            raise ValueError(f"{header.requires} in a file of version {version}")
        self._path = Path(path)
        self._header = header
        self._coder = coder
        self._version = version
        self._models = 0
        self._resources = ExitStack()
        self._file: BinaryIO
        self._signals = SignalCoder(b"" if version == TOKENS_ONLY else PRESET)
        self._signal: SignalInfo | None = None
        self._totals = Totals()
        self._entries: list[Entry] = []
        self._last_index = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self._path))
            self._file = stack.enter_context(temporary.open("wb"))
            write_prologue(self._file, self._version)
            brief = self._version != TOKENS_ONLY
            payload = (pack_brief if brief else pack_header)(self._header)
            self._totals.header = len(payload)
            write_section(self._file, Kind.BRIEF if brief else Kind.HEADER, payload)
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if value is not None:
            self._resources.__exit__(kind, value, trace)
            return
        with self._resources:
            self._finish()

    def add(self, info: SignalInfo, segment: SegmentData) -> None:
        """Write the next segment; one with another `info` than the last begins a new signal.

        Raises:
            ValueError: it does not fit the codec or the signal, or exceeds a limit of the format.
        """
        if self._signal is None or info != self._signal:
            self._begin(info)
        number = self._totals.signals - 1
        payload, sizes = pack_segment(
            number, info, segment, self._coder, self._version, coarse=self._header.coarse
        )
        self._write(Entry(Kind.SEGMENT, self._file.tell(), number, segment.start, segment.length), payload)
        shapes = [grid.shape for grid in segment.tokens.grids]
        self._totals.add_segment(info, segment.length, shapes, sizes)
        if segment.restoration:
            self._totals.add_path(path_of(segment.restoration))

    def add_model(self, network: Network) -> int:
        """Write a network for the segments that follow; returns its number.

        Raises:
            ValueError: the file is of version 1, or has too many models.
        """
        number = self._models
        if self._version == TOKENS_ONLY or number == MOST_MODELS:
            raise ValueError(f"model {number} in a file of version {self._version}")
        payload = pack_model(number, network)
        self._write(Entry(Kind.MODEL, self._file.tell(), max(0, self._totals.signals - 1)), payload)
        self._totals.models += len(payload)
        self._models += 1
        return number

    def copy(self, reader: AczReader, described: Callable[[SignalInfo], SignalInfo]) -> None:
        """Take over what another file of the same codec holds, segments as they stand there.

        Args:
            reader: the other file.
            described: gives the signals of this file for those of the other.

        Raises:
            ValueError: it is of another version, or this file holds something already.
            FormatError: it is damaged.
        """
        if reader.version != self._version or self._totals.signals or self._models:
            raise ValueError("only files of the same version can be copied, into new ones")
        for section, info, segment in reader.sections():
            number = max(0, self._totals.signals - 1)
            if section.type == Kind.SIGNAL and info is not None:
                self._begin(described(info))
            elif section.type == Kind.MODEL:
                self._write(Entry(Kind.MODEL, self._file.tell(), number), section.payload)
                self._totals.models += len(section.payload)
                self._models += 1
            elif segment is not None and info is not None:
                entry = Entry(Kind.SEGMENT, self._file.tell(), number, segment.start, segment.length)
                self._write(entry, section.payload)
                self._totals.add_segment(info, segment.length, segment.shapes, segment.sizes)
                if segment.restoration:
                    self._totals.add_path(path_of(segment.restoration))

    def _begin(self, info: SignalInfo) -> None:
        number = self._totals.signals
        payload = self._signals.pack(number, info)
        self._write(Entry(Kind.SIGNAL, self._file.tell(), number), payload)
        self._totals.add_signal(len(payload))
        self._signal = info

    def _write(self, entry: Entry, payload: bytes) -> None:
        write_section(self._file, entry.kind, payload)
        self._entries.append(entry)
        if len(self._entries) == INDEXED:
            self._write_index()

    def _write_index(self) -> None:
        offset = self._file.tell()
        write_section(self._file, Kind.INDEX, pack_index(self._last_index, self._entries))
        self._last_index = offset
        self._entries = []

    def _finish(self) -> None:
        if not may_lack_index(self._version, self._last_index, len(self._entries)):
            self._write_index()
        offset = self._file.tell()
        write_section(self._file, Kind.END, pack_totals(self._last_index, self._totals, self._version))
        write_trailer(self._file, offset)
