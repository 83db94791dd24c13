"""What can still be read of a damaged file.

Sections have checksums of their own, so that damage to one leaves the others. Where its length can't be
believed any more, the index says where the next one stands; of a file that was cut off, what lies before
the cut is read.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from anycodec.bitstream.fields import Damaged, leading_number
from anycodec.bitstream.frame import PROLOGUE_SIZE, Frame, Kind, Section
from anycodec.bitstream.index import Entry
from anycodec.bitstream.network import unpack_model
from anycodec.bitstream.parts import Part, Selection, index_at
from anycodec.bitstream.reader import AczReader
from anycodec.bitstream.segment import unpack_segment
from anycodec.bitstream.signal_info import SignalCoder
from anycodec.errors import FormatError
from anycodec.types import SignalInfo


@dataclass(frozen=True, slots=True)
class Damage:
    """A place of a file that can't be read.

    Attributes:
        offset: in the file.
        why: what is wrong there.
    """

    offset: int
    why: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of a signal that is lost.

    Attributes:
        signal: id of the signal, or its number where the id is lost too.
        start, stop: in samples or frames.
    """

    signal: str
    start: int
    stop: int


@dataclass(slots=True)
class _Found:
    """What was found of a signal."""

    info: SignalInfo
    segments: list[Entry] = field(default_factory=list)


class SalvageReader(AczReader):
    """An open file that may be damaged, or cut off. The prologue and the header must be there.

    Attributes:
        damages: places that can't be read, in order.
        lost: signals of which nothing is known but their number.
    """

    def __init__(self, path: str | Path) -> None:
        self.damages: list[Damage] = []
        super().__init__(path)
        self._signals = SignalCoder(self._dictionary)
        self._found: dict[int, _Found] = {}
        self._models: list[Entry] = []
        self._scan()
        self.damages.sort(key=lambda damage: damage.offset)
        named = self.header.file.n_signals
        self.lost = tuple(number for number in range(named) if number not in self._found)

    def _open_frame(self) -> Frame:
        try:
            return super()._open_frame()
        except Damaged as error:
            frame = Frame(self._file, whole=False)
            self.damages.append(Damage(frame.end_offset, str(error)))
            return frame

    def _read_end(self) -> None:
        if self._frame.end_offset == self._frame.size:
            return
        try:
            super()._read_end()
        except FormatError as error:
            self.damages.append(Damage(self._frame.end_offset, error.what))

    def salvaged(self, *, from_start: bool = False) -> Selection:
        """All segments that can be read.

        Args:
            from_start: a segment can only be decoded after all those of its signal before it.
        """
        parts = []
        for number, found in sorted(self._found.items()):
            kept = _unbroken(found.segments) if from_start else found.segments
            if kept:
                stop = kept[-1].start + kept[-1].length
                parts.append(
                    Part(number=number, info=found.info, segments=tuple(kept), start=kept[0].start, stop=stop)
                )
        return Selection(tuple(parts), tuple(self._models))

    def gaps(self, selection: Selection) -> list[Gap]:
        """What a selection of everything lacks."""
        segments = {part.number: part.segments for part in selection.parts}
        gaps = [Gap(f"number {number}", 0, 0) for number in self.lost]
        for number, found in sorted(self._found.items()):
            position, end = 0, found.info.length
            for entry in segments.get(number, ()):
                if entry.start > position:
                    gaps.append(Gap(found.info.id, position, entry.start))
                position = entry.start + entry.length
            if position < end:
                gaps.append(Gap(found.info.id, position, end))
        return gaps

    def _scan(self) -> None:
        """Read the whole file, section by section."""
        known = self._known_offsets()
        offset = self._first
        while offset < self._frame.end_offset:
            try:
                section = self._frame.read(offset)
                self._take(section)
                offset = section.end
                if section.type == Kind.END:
                    return
            except Damaged as error:
                self.damages.append(Damage(offset, str(error)))
                offset = self._next(offset, known)

    def _take(self, section: Section) -> None:
        """Note what a section holds."""
        if section.type == Kind.SIGNAL:
            number = leading_number(section.payload)
            self._found[number] = _Found(self._signals.unpack(number, section.payload))
        elif section.type == Kind.MODEL:
            unpack_model(leading_number(section.payload), section.payload)
            self._models.append(Entry(Kind.MODEL, section.offset, 0))
        elif section.type == Kind.SEGMENT:
            number = leading_number(section.payload)
            found = self._found.get(number)
            if found is None:
                raise Damaged(f"a segment of signal {number}, whose description is lost")
            levels = len(self.header.codebook_sizes)
            segment = unpack_segment(number, found.info, levels, section.payload, self.version)
            entry = Entry(Kind.SEGMENT, section.offset, number, segment.start, segment.length)
            last = found.segments[-1] if found.segments else entry
            if entry is not last and entry.start < last.start + last.length:
                raise Damaged("a segment that comes twice")
            found.segments.append(entry)

    def _known_offsets(self) -> list[int]:
        """Where sections stand, as far back as the index can be followed."""
        offsets: list[int] = []
        offset = self._last_index
        before = self._frame.end_offset
        with suppress(Damaged):  # the scan meets it again, and says so
            while PROLOGUE_SIZE < offset < before:
                previous, entries = index_at(self._frame, offset)
                offsets += [offset, *(entry.offset for entry in entries)]
                before, offset = offset, previous
        return sorted(offsets)

    def _next(self, offset: int, known: list[int]) -> int:
        """Where to go on after a section that can't be read; at the end of the file where nothing tells."""
        own = self._frame.end_of(offset)
        if own is not None and (own == self._frame.end_offset or self._readable(own)):
            return own
        place = bisect_right(known, offset)
        return known[place] if place < len(known) else self._frame.end_offset

    def _readable(self, offset: int) -> bool:
        try:
            self._frame.read(offset)
        except Damaged:
            return False
        return True


def _unbroken(segments: list[Entry]) -> list[Entry]:
    """Those before the first gap."""
    position, kept = 0, []
    for entry in segments:
        if entry.start != position:
            break
        kept.append(entry)
        position += entry.length
    return kept
