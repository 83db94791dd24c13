"""`.acz` files, versions 1 and 2: one native file as tokens and everything needed to restore it.

Written and read as a stream with one segment in memory at a time. FORMAT.md is the specification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from anycodec.atomic import atomic_path
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.frame import (
    PROLOGUE_SIZE,
    RESTORING,
    SECTION_OVERHEAD,
    TOKENS_ONLY,
    TRAILER_SIZE,
    Frame,
    Kind,
    Section,
    write_prologue,
    write_section,
    write_trailer,
)
from anycodec.bitstream.header import Bound, Header, pack_header, unpack_header
from anycodec.bitstream.index import Entry, pack_index
from anycodec.bitstream.limits import INDEXED, MOST_MODELS
from anycodec.bitstream.network import Network, pack_model
from anycodec.bitstream.restoration import path_of
from anycodec.bitstream.segment import PackedSegment, SegmentData, pack_segment
from anycodec.bitstream.signal_info import SignalCoder
from anycodec.bitstream.totals import Totals, pack_totals, unpack_totals
from anycodec.bitstream.walk import Walk
from anycodec.errors import FormatError
from anycodec.types import SignalInfo

_MEND = "copy the file again from where it came from, or compress the original again"

__all__ = ["AczReader", "AczWriter", "Bound", "Header", "PackedSegment", "SegmentData", "Totals"]


class AczWriter:
    """Writes a file, atomically: it appears when the context ends without an exception.

    Args:
        path: the file to write.
        header: see `Header`.
        coder: entropy coder of the run.

    Raises:
        ValueError: the coder has other codebooks than the header.
        ResourceError: the disk is full.
    """

    def __init__(self, path: str | Path, header: Header, coder: AdaptiveCoder) -> None:
        if header.codebook_sizes != coder.codebook_sizes:
            raise ValueError(f"codebooks {header.codebook_sizes}, the coder has {coder.codebook_sizes}")
        self._path = Path(path)
        self._header = header
        self._coder = coder
        self._version = TOKENS_ONLY if header.bound is None else RESTORING
        self._models = 0
        self._resources = ExitStack()
        self._file: BinaryIO
        self._signals = SignalCoder()
        self._signal: SignalInfo | None = None
        self._totals = Totals()
        self._entries: list[Entry] = []
        self._last_index = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self._path))
            self._file = stack.enter_context(temporary.open("wb"))
            write_prologue(self._file, self._version)
            payload = pack_header(self._header)
            self._totals.header = len(payload)
            write_section(self._file, Kind.HEADER, payload)
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
        payload, sizes = pack_segment(number, info, segment, self._coder, self._version)
        self._write(Entry(Kind.SEGMENT, self._file.tell(), number, segment.start, segment.length), payload)
        shapes = [grid.shape for grid in segment.tokens.grids]
        self._totals.add_segment(info, segment.length, shapes, sizes)
        if segment.restoration:
            self._totals.add_path(path_of(segment.restoration))

    def add_model(self, network: Network) -> int:
        """Write a network for the segments that follow; returns its number.

        Raises:
            ValueError: the file has no bound, or too many models.
        """
        number = self._models
        if self._version == TOKENS_ONLY or number == MOST_MODELS:
            raise ValueError(f"model {number} in a file of version {self._version}")
        payload = pack_model(number, network)
        self._write(Entry(Kind.MODEL, self._file.tell(), max(0, self._totals.signals - 1)), payload)
        self._totals.models += len(payload)
        self._models += 1
        return number

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
        if self._entries:
            self._write_index()
        offset = self._file.tell()
        write_section(self._file, Kind.END, pack_totals(self._last_index, self._totals, self._version))
        write_trailer(self._file, offset)


class AczReader:
    """An open file. Use as a context manager.

    Opening checks both ends and the header; `records`, `segments` and `verify` check the rest.

    Attributes:
        header: see `Header`.
        totals: what the file holds, as its END section says.
        models: networks of the file by number, those that stand before the segment read last.

    Raises:
        FormatError: foreign, of another version, truncated or damaged; by every method.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._file = _open(self._path)
        try:
            with self._blame("at the ends of the file"):
                self._frame = Frame(self._file)
            with self._blame("in the END section", self._frame.end_offset):
                section = self._section(self._frame.end_offset, Kind.END)
                if section.end != self._frame.size - TRAILER_SIZE:
                    raise Damaged("bytes were added or removed before the end")
                self._last_index, self.totals = unpack_totals(section.payload, self._frame.version)
            with self._blame("in the header", PROLOGUE_SIZE):
                section = self._section(PROLOGUE_SIZE, Kind.HEADER)
                self.header: Header = unpack_header(section.payload)
            self._first = section.end
            self.models: Mapping[int, Network] = {}
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    @property
    def version(self) -> int:
        """Of the format."""
        return self._frame.version

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._frame.size

    def sizes(self) -> dict[str, int]:
        """Bytes by category: tokens, statistics, masks, attachments, metadata, header, container."""
        return self.totals.sizes(self.size)

    def require_codec(self, fingerprint: str) -> None:
        """Refuse tokens of another codec.

        Raises:
            FormatError: the file was written by a run with another fingerprint.
        """
        codec = self.header.codec
        found = str(codec.get("fingerprint"))
        if found != fingerprint:
            raise FormatError(
                f"wrong codec: the file was written by {codec.get('name')!s:.80} ({found[:12]}), "
                f"the run given is {fingerprint[:12]}",
                where=str(self._path),
                how=f"give the run that wrote it with --run (it was at {codec.get('run')!s:.200})",
            )

    def segments(self, coder: AdaptiveCoder) -> Iterator[tuple[SignalInfo, SegmentData]]:
        """All segments in order, each with its signal.

        Args:
            coder: entropy coder of the run that `require_codec` accepted.
        """
        if coder.codebook_sizes != self.header.codebook_sizes:
            raise FormatError(
                f"wrong codec: the file has codebooks of {self.header.codebook_sizes} codes, "
                f"the run {coder.codebook_sizes}",
                where=str(self._path),
            )
        for info, packed in self.records():
            with self._blame(f"in the tokens of signal {info.id!r} from {packed.start}"):
                segment = packed.decode(coder)
            yield info, segment

    def records(self) -> Iterator[tuple[SignalInfo, PackedSegment]]:
        """All segments in order with their tokens still coded: needs no codec."""
        walk = Walk(len(self.header.codebook_sizes), self._last_index, self.version)
        self.models = walk.models
        walk.totals.header = self._first - PROLOGUE_SIZE - SECTION_OVERHEAD
        offset = self._first
        while offset < self._frame.end_offset:
            with self._blame("in a section", offset):
                section = self._frame.read(offset)
                segment = walk.step(section)
            offset = section.end
            if segment is not None and walk.info is not None:
                yield walk.info, segment
        with self._blame("in the END section", offset):
            if offset != self._frame.end_offset:
                raise Damaged("the sections run past the END section")
            walk.finish(self.totals)

    def verify(self) -> None:
        """Check every byte of the file, short of decoding tokens."""
        for _ in self.records():
            pass

    def _section(self, offset: int, kind: Kind) -> Section:
        section = self._frame.read(offset)
        if section.type != kind:
            raise Damaged(f"a section of type {section.type} instead of {kind.name}")
        return section

    @contextmanager
    def _blame(self, what: str, offset: int | None = None) -> Iterator[None]:
        """Say which file and which part of it is damaged."""
        try:
            yield
        except Damaged as error:
            place = what if offset is None else f"{what} at byte {offset}"
            raise FormatError(f"{error} ({place})", where=str(self._path), how=_MEND) from error


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        what = "a folder is not an .acz file" if path.is_dir() else "there is no such file"
        raise FormatError(what, where=str(path)) from error
