"""The frame of an `.acz` file: prologue, sections with checksums, trailer.

    prologue  magic 8 | version u16 | zero u16 | CRC32C u32
    section   type u8 | length u32 | payload | CRC32C u32 over all before it      (repeated)
    trailer   offset of the END section u64 | CRC32C u32 | end magic 8

Integers are little-endian. See FORMAT.md.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO

import google_crc32c

from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.limits import LARGEST_SECTION

TOKENS_ONLY, RESTORING = 1, 2
"""Versions of the format. The first is read, and added to, for ever; new files are of the second."""
VERSIONS = (TOKENS_ONLY, RESTORING)
MAGIC = b"\x89ACZ\r\n\x1a\n"
"""As in PNG: not text, and every conversion of line ends or cut at ^Z damages it."""
_TEXT_MODE = (
    MAGIC.replace(b"\r\n", b"\n"),
    MAGIC.replace(b"\r\n", b"\r"),
    MAGIC.replace(b"\n", b"\r\n"),
)
"""What such conversions make of the magic."""
END_MAGIC = b"ACZ.END\n"

_VERSION = struct.Struct("<HH")
_HEAD = struct.Struct("<BI")
_CRC = struct.Struct("<I")
_OFFSET = struct.Struct("<Q")
PROLOGUE_SIZE = len(MAGIC) + _VERSION.size + _CRC.size
TRAILER_SIZE = _OFFSET.size + _CRC.size + len(END_MAGIC)
SECTION_OVERHEAD = _HEAD.size + _CRC.size
ANCILLARY = 0x80
"""Sections of this type and above may be passed over by readers that don't know them."""


class Kind(IntEnum):
    """Section types; MODEL and BRIEF, a HEADER of few bytes, from version 2 on."""

    HEADER = 1
    SIGNAL = 2
    SEGMENT = 3
    INDEX = 4
    END = 5
    MODEL = 6
    BRIEF = 7


@dataclass(frozen=True, slots=True)
class Section:
    """A section whose checksum is right.

    Attributes:
        type: see `Kind`.
        offset: of its first byte in the file.
        end: offset of the byte after it.
        payload: its content.
    """

    type: int
    offset: int
    end: int
    payload: bytes


def crc32c(*parts: bytes) -> bytes:
    """CRC-32C (Castagnoli, RFC 3720) of the parts in a row, little-endian."""
    value = 0
    for part in parts:
        value = google_crc32c.extend(value, part)
    return _CRC.pack(value)


def write_prologue(file: BinaryIO, version: int) -> None:
    """Begin a file."""
    start = MAGIC + _VERSION.pack(version, 0)
    file.write(start + crc32c(start))


def write_section(file: BinaryIO, kind: Kind, payload: bytes) -> None:
    """Append a section.

    Raises:
        ValueError: the payload is above the limit.
    """
    if len(payload) > LARGEST_SECTION:
        raise ValueError(f"a section of {len(payload)} bytes is above the limit of {LARGEST_SECTION}")
    head = _HEAD.pack(kind, len(payload))
    file.write(head)
    file.write(payload)
    file.write(crc32c(head, payload))


def write_trailer(file: BinaryIO, end_offset: int) -> None:
    """End a file whose END section is at `end_offset`."""
    offset = _OFFSET.pack(end_offset)
    file.write(offset + crc32c(offset, END_MAGIC) + END_MAGIC)


class Frame:
    """A file with a frame, open for reading in any order.

    Args:
        file: the open file.
        whole: it must have a right trailer.

    Attributes:
        version: of the format.
        size: bytes of the file.
        end_offset: where the END section stands; without a trailer, where the file ends.

    Raises:
        Damaged: foreign, of another version, truncated or damaged at one of its ends.
    """

    def __init__(self, file: BinaryIO, *, whole: bool = True) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        self._sections_end = self.size - TRAILER_SIZE if whole else self.size
        self.version = _checked_version(self._at(0, PROLOGUE_SIZE))
        self.end_offset = self._read_trailer() if whole else self.size

    def read(self, offset: int) -> Section:
        """The section at `offset`.

        Raises:
            Damaged: its length or its checksum is wrong.
        """
        room = self._sections_end - offset - SECTION_OVERHEAD
        head = self._at(offset, _HEAD.size)
        if room < 0:
            raise Damaged("no room for a section")
        kind, length = _HEAD.unpack(head)
        if length > min(room, LARGEST_SECTION):
            raise Damaged(f"the section's length, {length}, is wrong (only {room} bytes follow)")
        payload = self._at(offset + _HEAD.size, length)
        if self._at(offset + _HEAD.size + length, _CRC.size) != crc32c(head, payload):
            raise Damaged("the section's checksum is wrong")
        return Section(kind, offset, offset + SECTION_OVERHEAD + length, payload)

    def end_of(self, offset: int) -> int | None:
        """Where the section at `offset` ends by its own account; None where it can't."""
        room = self._sections_end - offset - SECTION_OVERHEAD
        if room < 0:
            return None
        _, length = _HEAD.unpack(self._at(offset, _HEAD.size))
        return None if length > min(room, LARGEST_SECTION) else offset + SECTION_OVERHEAD + int(length)

    def _at(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)

    def _read_trailer(self) -> int:
        trailer = self._at(max(PROLOGUE_SIZE, self.size - TRAILER_SIZE), TRAILER_SIZE)
        offset, crc, magic = trailer[:8], trailer[8:12], trailer[12:]
        if magic != END_MAGIC:
            raise Damaged("the file is truncated or damaged at its end: the end mark is missing")
        (end,) = _OFFSET.unpack(offset)
        room = self.size - TRAILER_SIZE - SECTION_OVERHEAD
        if crc != crc32c(offset, END_MAGIC) or not PROLOGUE_SIZE <= end <= room:
            raise Damaged("the file's last bytes are damaged: their checksum is wrong")
        return int(end)


def _checked_version(prologue: bytes) -> int:
    """The version that a prologue names."""
    if not prologue:
        raise Damaged("the file is empty")
    magic, checked, crc = prologue[:8], prologue[:-4], prologue[-4:]
    if prologue.startswith(_TEXT_MODE):
        raise Damaged("the file is damaged: a transfer in text mode changed its line ends")
    if not MAGIC.startswith(magic):
        raise Damaged("not an .acz file: its first bytes are others")
    if len(prologue) < PROLOGUE_SIZE:
        raise Damaged("the file is truncated: it ends within its first bytes")
    if crc32c(checked) != crc:
        raise Damaged("the file's first bytes are damaged: their checksum is wrong")
    version, zero = _VERSION.unpack(prologue[8:12])
    if version not in VERSIONS or zero:
        known = " and ".join(map(str, VERSIONS))
        raise Damaged(f"the file has format version {version}, this program reads versions {known}")
    return int(version)
