"""Reading `.acz` files: all of one in order, or the parts that are wanted by way of its index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from anycodec.bitstream.dictionary import PRESET
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.bitstream.fields import Damaged, leading_number
from anycodec.bitstream.frame import (
    PROLOGUE_SIZE,
    SECTION_OVERHEAD,
    TOKENS_ONLY,
    TRAILER_SIZE,
    Frame,
    Kind,
    Section,
)
from anycodec.bitstream.header import Header, unpack_brief, unpack_header
from anycodec.bitstream.index import Entry
from anycodec.bitstream.network import Network, unpack_model
from anycodec.bitstream.parts import Choice, Part, Selection, choose, listed
from anycodec.bitstream.segment import PackedSegment, SegmentData, unpack_segment
from anycodec.bitstream.signal_info import SignalCoder
from anycodec.bitstream.totals import Totals, unpack_totals
from anycodec.bitstream.walk import Walk
from anycodec.errors import FormatError
from anycodec.types import SignalInfo

_MEND = "copy the file again from where it came from, or compress the original again"


class AczReader:
    """An open file. Use as a context manager.

    Opening checks both ends and the header; `records`, `segments` and `verify` check the rest, of a selection
    what they read.

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
        self.models: Mapping[int, Network] = {}
        self.totals = Totals()
        self._last_index = 0
        try:
            with self._blame("at the ends of the file"):
                self._frame = self._open_frame()
            self._read_end()
            with self._blame("in the header", PROLOGUE_SIZE):
                section = self._frame.read(PROLOGUE_SIZE)
                self.header, self._dictionary = _read_header(section, self._frame.version)
            self._first = section.end
        except BaseException:
            self._file.close()
            raise

    def _open_frame(self) -> Frame:
        """Read prologue and trailer."""
        return Frame(self._file)

    def _read_end(self) -> None:
        """Read the END section."""
        with self._blame("in the END section", self._frame.end_offset):
            section = self._section(self._frame.end_offset, Kind.END)
            if section.end != self._frame.size - TRAILER_SIZE:
                raise Damaged("bytes were added or removed before the end")
            self._last_index, self.totals = unpack_totals(section.payload, self._frame.version)

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

    def choose(self, choice: Choice, *, from_start: bool = False) -> Selection:
        """Find what is wanted by way of the index, without reading segments.

        Args:
            choice: what is wanted.
            from_start: a segment can only be decoded after those of its signal before it.
        """
        self._signals = SignalCoder(self._dictionary)
        with self._blame("in the index"):
            entries = listed(self._frame, self._last_index, self._first)
            return choose(entries, self._describe, choice, from_start)

    def _describe(self, entry: Entry) -> SignalInfo:
        """The signal of an index entry; signal 0 must be the first that is asked for."""
        section = self._section(entry.offset, Kind.SIGNAL)
        return self._signals.unpack(entry.signal, section.payload)

    def _require_prior(self, coder: AdaptiveCoder) -> None:
        """Refuse to read tokens without the prior that coded them, or with another."""
        need = self.header.prior
        found = None if coder.prior is None else coder.prior.fingerprint
        if need is None or found == need["fingerprint"]:
            return
        needed = need["fingerprint"][:12]
        raise FormatError(
            f"the file needs the learned prior {needed}"
            if found is None
            else f"wrong prior: the file needs {needed}, the one given is {found[:12]}",
            where=str(self._path),
            how=f"give the prior that wrote it with --prior (it was at {need['run']:.200})",
        )

    def segments(
        self, coder: AdaptiveCoder, selection: Selection | None = None
    ) -> Iterator[tuple[SignalInfo, SegmentData]]:
        """Segments in order, each with its signal.

        Args:
            coder: entropy coder of the run that `require_codec` accepted.
            selection: which; None = all, and everything else in the file is checked as well.
        """
        if coder.codebook_sizes != self.header.codebook_sizes:
            raise FormatError(
                f"wrong codec: the file has codebooks of {self.header.codebook_sizes} codes, "
                f"the run {coder.codebook_sizes}",
                where=str(self._path),
            )
        self._require_prior(coder)
        for info, packed in self.records() if selection is None else self.selected(selection):
            with self._blame(f"in the tokens of signal {info.id!r} from {packed.start}"):
                segment = packed.decode(coder)
            yield info, segment

    def records(self) -> Iterator[tuple[SignalInfo, PackedSegment]]:
        """All segments in order with their tokens still coded: needs no codec."""
        for _, info, segment in self.sections():
            if segment is not None and info is not None:
                yield info, segment

    def sections(self) -> Iterator[tuple[Section, SignalInfo | None, PackedSegment | None]]:
        """All sections between the header and the end, in order: their signal, and what a SEGMENT holds."""
        signals = SignalCoder(self._dictionary)
        walk = Walk(len(self.header.codebook_sizes), self._last_index, self.version, signals)
        self.models = walk.models
        walk.totals.header = self._first - PROLOGUE_SIZE - SECTION_OVERHEAD
        offset = self._first
        while offset < self._frame.end_offset:
            with self._blame("in a section", offset):
                section = self._frame.read(offset)
                segment = walk.step(section)
            offset = section.end
            yield section, walk.info, segment
        with self._blame("in the END section", offset):
            if offset != self._frame.end_offset:
                raise Damaged("the sections run past the END section")
            walk.finish(self.totals)

    def selected(self, selection: Selection) -> Iterator[tuple[SignalInfo, PackedSegment]]:
        """The segments of a selection in order, as `records`; nothing else is read."""
        self.models = {}
        for entry in selection.models:
            with self._blame("in a model", entry.offset):
                section = self._section(entry.offset, Kind.MODEL)
                number = leading_number(section.payload)
                self.models = {**self.models, number: unpack_model(number, section.payload)}
        for part, entry in selection.segments():
            with self._blame("in a segment", entry.offset):
                yield part.info, self._segment(part, entry)

    def _segment(self, part: Part, entry: Entry) -> PackedSegment:
        section = self._section(entry.offset, Kind.SEGMENT)
        levels = len(self.header.codebook_sizes)
        segment = unpack_segment(part.number, part.info, levels, section.payload, self.version)
        if (segment.start, segment.length) != (entry.start, entry.length):
            raise Damaged("the segment is another than the index says")
        return segment

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


def _read_header(section: Section, version: int) -> tuple[Header, bytes]:
    """The header that a file's first section holds, and the dictionary of its signals."""
    if section.type == Kind.HEADER:
        return unpack_header(section.payload), b""
    if section.type == Kind.BRIEF and version != TOKENS_ONLY:
        return unpack_brief(section.payload), PRESET
    raise Damaged(f"a section of type {section.type} instead of {Kind.HEADER.name}")


def read_header(path: str | Path) -> Header:
    """The header of a file that may be damaged elsewhere.

    Raises:
        FormatError: foreign, of another version, or damaged there.
    """
    return _HeaderReader(path).header


class _HeaderReader(AczReader):
    """A file of which nothing but its start was read."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.close()

    def _open_frame(self) -> Frame:
        return Frame(self._file, whole=False)

    def _read_end(self) -> None:
        pass


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        what = "a folder is not an .acz file" if path.is_dir() else "there is no such file"
        raise FormatError(what, where=str(path)) from error
