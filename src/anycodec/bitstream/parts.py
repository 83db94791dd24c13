"""Parts of a file: which are wanted, and where its index says they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.frame import ANCILLARY, SECTION_OVERHEAD, Frame, Kind
from anycodec.bitstream.index import Entry, entry_of, may_lack_index, unpack_index
from anycodec.types import SignalInfo

EVERYTHING = slice(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a user wants of a file.

    Attributes:
        ids: of signals; None = all.
        stretch: start and stop within each signal, in samples or frames, as Python counts: -100: is the last
            hundred.
    """

    ids: frozenset[str] | None = None
    stretch: slice = field(default_factory=lambda: EVERYTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is to be read of one signal.

    Attributes:
        number: of the signal in the file.
        info: the whole signal.
        segments: index entries of the segments to decode, in order.
        start, stop: the stretch of the signal that is wanted.
    """

    number: int
    info: SignalInfo
    segments: tuple[Entry, ...]
    start: int
    stop: int

    @property
    def length(self) -> int:
        """Samples or frames that are wanted and there."""
        return sum(max(0, high - low) for low, high in map(self.within, self.segments))

    def within(self, segment: Entry) -> tuple[int, int]:
        """First and last + 1 of the wanted samples or frames of a segment, counted from its own first."""
        low = max(self.start - segment.start, 0)
        return low, min(self.stop - segment.start, segment.length)


@dataclass(frozen=True, slots=True)
class Selection:
    """Parts of one file, in its order.

    Attributes:
        parts: one a signal.
        models: index entries of the networks that may be needed.
    """

    parts: tuple[Part, ...]
    models: tuple[Entry, ...]

    def segments(self) -> Iterator[tuple[Part, Entry]]:
        """What to decode, in order."""
        return ((part, entry) for part in self.parts for entry in part.segments)


def stored(frame: Frame, last_index: int) -> Iterator[Entry]:
    """All index entries in the order of the file, by the chain that ends at `last_index`.

    Raises:
        Damaged: not such a chain, or entries that overlap.
    """
    offsets: list[int] = []
    offset = last_index
    while offset:
        offsets.append(offset)
        previous, _ = index_at(frame, offset)
        if previous >= offset:
            raise Damaged("the index does not lead back to the start")
        offset = previous
    end = 0
    for offset in reversed(offsets):
        for entry in index_at(frame, offset)[1]:
            if not end <= entry.offset <= offset - SECTION_OVERHEAD:
                raise Damaged("entries of the index overlap")
            end = entry.offset + SECTION_OVERHEAD
            yield entry


def listed(frame: Frame, last_index: int, first: int) -> Iterator[Entry]:
    """All index entries in the order of the file; those of a short file without an index are made up.

    Args:
        frame: the file.
        last_index: offset of its last INDEX section, 0 where there is none.
        first: offset of the section after its header.

    Raises:
        Damaged: an index that no writer makes, or none in a file that needs one.
    """
    if last_index:
        yield from stored(frame, last_index)
        return
    offset, found = first, 0
    while offset < frame.end_offset:
        section = frame.read(offset)
        offset = section.end
        if section.type < ANCILLARY:
            found += 1
            if not may_lack_index(frame.version, last_index, found):
                raise Damaged("the index is missing")
            yield entry_of(section)


def index_at(frame: Frame, offset: int) -> tuple[int, list[Entry]]:
    """Offset of the INDEX section before, and the entries of the one at `offset`.

    Raises:
        Damaged: no INDEX section.
    """
    section = frame.read(offset)
    if section.type != Kind.INDEX:
        raise Damaged(f"a section of type {section.type} instead of an index")
    return unpack_index(section.payload)


def choose(
    entries: Iterable[Entry], describe: Callable[[Entry], SignalInfo], choice: Choice, from_start: bool
) -> Selection:
    """The parts that a choice means.

    Args:
        entries: of the index, in order.
        describe: gives the signal of a SIGNAL entry.
        choice: what is wanted.
        from_start: a segment can only be decoded after those before it.

    Raises:
        Damaged: entries that no writer makes.
    """
    parts: list[Part] = []
    models: list[Entry] = []
    missing = None if choice.ids is None else set(choice.ids)
    for signal, segments in _by_signal(entries, models):
        info = describe(signal)
        if missing is not None:
            if info.id not in missing:
                continue
            missing.remove(info.id)
        part = _part(signal.signal, info, segments, choice.stretch, from_start)
        if part is not None:
            parts.append(part)
        if missing is not None and not missing:
            break
    return Selection(tuple(parts), tuple(models))


def _by_signal(entries: Iterable[Entry], models: list[Entry]) -> Iterator[tuple[Entry, list[Entry]]]:
    """Each SIGNAL with its SEGMENT entries; MODEL entries are put aside."""
    signal: Entry | None = None
    segments: list[Entry] = []
    for entry in entries:
        if entry.kind == Kind.MODEL:
            models.append(entry)
        elif entry.kind == Kind.SEGMENT:
            if signal is None or entry.signal != signal.signal:
                raise Damaged("the index names a segment before its signal")
            segments.append(entry)
        else:
            if signal is not None:
                yield signal, segments
            signal, segments = entry, []
    if signal is not None:
        yield signal, segments


def _part(
    number: int, info: SignalInfo, segments: list[Entry], stretch: slice, from_start: bool
) -> Part | None:
    """The stretch of a signal; None where nothing of it is wanted."""
    position = 0
    for entry in segments:
        if entry.start != position:
            raise Damaged("the index names segments that don't follow each other")
        position += entry.length
    start, stop, _ = stretch.indices(position)
    if start >= stop and (position or stretch != EVERYTHING):
        return None
    whole = stretch == EVERYTHING
    wanted = [
        entry
        for entry in segments
        if whole or (entry.start < stop and (from_start or entry.start + entry.length > start))
    ]
    return Part(number=number, info=info, segments=tuple(wanted), start=start, stop=stop)


def lengths(selection: Selection) -> Mapping[int, int]:
    """Samples or frames of each signal that is selected, by its number."""
    return {part.number: part.length for part in selection.parts}
