"""The fields that payloads are made of: single bytes, variable-length integers, byte strings.

An integer is written in unsigned LEB128: seven bits a byte, low ones first, the high bit set on all
but the last byte, no more bytes than needed.
"""

from __future__ import annotations

LARGEST_UINT = 2**63 - 1


class Damaged(Exception):
    """Bytes that are not what the format says. `AczReader` adds where."""


class FieldWriter:
    """Builds a payload."""

    def __init__(self) -> None:
        self.data = bytearray()

    def byte(self, value: int) -> None:
        self.data.append(value)

    def uint(self, value: int) -> None:
        """An integer in 0..2^63 - 1."""
        if not 0 <= value <= LARGEST_UINT:
            raise ValueError(f"{value} is not in 0..2^63 - 1")
        while value > 0x7F:
            self.data.append(value & 0x7F | 0x80)
            value >>= 7
        self.data.append(value)

    def sint(self, value: int) -> None:
        """An integer in -2^62..2^62 - 1: 2 v for v >= 0, else -2 v - 1."""
        self.uint(2 * value if value >= 0 else -2 * value - 1)

    def raw(self, data: bytes) -> None:
        """Bytes whose number the reader knows."""
        self.data += data

    def blob(self, data: bytes) -> None:
        """Bytes after their number."""
        self.uint(len(data))
        self.data += data


def leading_number(payload: bytes) -> int:
    """The uint that a SIGNAL, SEGMENT or MODEL section begins with: of the signal, or of the model.

    Raises:
        Damaged: there is none.
    """
    return FieldReader(payload).uint(LARGEST_UINT, "number of a section")


class FieldReader:
    """Takes a payload apart.

    Raises:
        Damaged: by every method, where the payload is too short or a field is out of bounds.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def byte(self) -> int:
        return self.raw(1)[0]

    def uint(self, most: int, name: str) -> int:
        """An integer in 0..most; `name` says in an error what it is."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 56:
                raise Damaged(f"{name} is not an integer below 2^63")
        if value > most:
            raise Damaged(f"{name} is {value}, above the limit of {most}")
        if shift and byte == 0:
            raise Damaged(f"{name} has superfluous bytes")
        return value

    def sint(self, most: int, name: str) -> int:
        """An integer in -most..most; `name` says in an error what it is."""
        number = self.uint(2 * most, name)
        return number >> 1 if number % 2 == 0 else -(number + 1 >> 1)

    def raw(self, length: int) -> bytes:
        """The next `length` bytes."""
        end = self.position + length
        if end > len(self._data):
            raise Damaged(f"{length} bytes expected, {self.left} left")
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def blob(self, most: int, name: str) -> bytes:
        """Bytes after their number."""
        return self.raw(self.uint(most, f"length of {name}"))

    @property
    def left(self) -> int:
        """Number of bytes that were not taken yet."""
        return len(self._data) - self.position

    def rest(self) -> bytes:
        """All that is left."""
        return self.raw(self.left)

    def finish(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise Damaged(f"{self.left} superfluous bytes")
