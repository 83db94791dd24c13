"""INDEX sections: where signals and segments stand, as a chain that is found from the end.

Each section lists the up to 4096 SIGNAL, SEGMENT and MODEL sections since the one before and points back
to it, so that neither writer nor reader ever holds more than one. A file of one segment needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anycodec.bitstream.deflate import deflate, inflate
from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.frame import TOKENS_ONLY, Kind, Section
from anycodec.bitstream.limits import INDEXED, LARGEST_EXTENT

_LARGEST_ENTRY = 1 + 4 * 9
"""Bytes of an entry at most."""
_LISTED = (Kind.SIGNAL, Kind.SEGMENT, Kind.MODEL)
_FEW = 2
"""Sections that are as quickly found without an index."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One SIGNAL, SEGMENT or MODEL section.

    Attributes:
        kind: `Kind.SIGNAL`, `Kind.SEGMENT` or `Kind.MODEL`.
        offset: of the section in the file.
        signal: number of the signal; of the one before a model.
        start, length: samples or frames of a segment; 0 for others.
    """

    kind: Kind
    offset: int
    signal: int
    start: int = 0
    length: int = 0


def may_lack_index(version: int, last_index: int, unlisted: int) -> bool:
    """Whether a file may end with so many sections that no index lists."""
    return unlisted == 0 or (version != TOKENS_ONLY and last_index == 0 and unlisted <= _FEW)


def entry_of(section: Section) -> Entry:
    """What an index would say of a SIGNAL, SEGMENT or MODEL section.

    Raises:
        Damaged: another section, or too short a one.
    """
    if section.type not in _LISTED:
        raise Damaged(f"a section of type {section.type} in a file without an index")
    fields = FieldReader(section.payload)
    kind, number = Kind(section.type), fields.uint(LARGEST_EXTENT, "number")
    if kind != Kind.SEGMENT:
        return Entry(kind, section.offset, 0 if kind == Kind.MODEL else number)
    start = fields.uint(LARGEST_EXTENT, "start")
    return Entry(kind, section.offset, number, start, fields.uint(LARGEST_EXTENT, "length"))


def pack_index(previous: int, entries: Sequence[Entry]) -> bytes:
    """Payload of an INDEX section.

    Args:
        previous: offset of the INDEX section before, 0 where there is none.
        entries: at least one, in file order.
    """
    rows = FieldWriter()
    offset = signal = 0
    for entry in entries:
        rows.byte(entry.kind)
        for value in (entry.offset - offset, entry.signal - signal, entry.start, entry.length):
            rows.uint(value)
        offset, signal = entry.offset, entry.signal
    fields = FieldWriter()
    fields.uint(previous)
    fields.uint(len(entries))
    fields.uint(len(rows.data))
    fields.raw(deflate(bytes(rows.data)))
    return bytes(fields.data)


def unpack_index(payload: bytes) -> tuple[int, list[Entry]]:
    """Inverse of `pack_index`: previous offset, entries.

    Raises:
        Damaged: not an index.
    """
    fields = FieldReader(payload)
    previous = fields.uint(LARGEST_EXTENT, "offset of the index before")
    count = fields.uint(INDEXED, "number of entries")
    size = fields.uint(count * _LARGEST_ENTRY, "size of the index")
    rows = FieldReader(inflate(fields.rest(), size))
    entries: list[Entry] = []
    offset = signal = 0
    for _ in range(count):
        kind = rows.byte()
        if kind not in _LISTED:
            raise Damaged(f"an index entry of type {kind}")
        offset += rows.uint(LARGEST_EXTENT, "offset")
        signal += rows.uint(LARGEST_EXTENT, "signal")
        start = rows.uint(LARGEST_EXTENT, "start")
        entries.append(Entry(Kind(kind), offset, signal, start, rows.uint(LARGEST_EXTENT, "length")))
    rows.finish()
    return previous, entries
