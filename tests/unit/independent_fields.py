"""Checksums, fields and the range coder by FORMAT.md alone; see `independent_reader`."""

from __future__ import annotations

import json
import struct
import zlib
from bisect import bisect_right
from itertools import accumulate, chain, repeat
from pathlib import Path

U64 = 2**64


def crc32c(data: bytes) -> int:
    """The bitwise definition: reflected polynomial 0x1EDC6F41, all ones before and after."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0x82F63B78 * (value & 1)
    return value ^ 0xFFFFFFFF


class Fields:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        self.at += count
        assert self.at <= len(self.data)
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def uint(self) -> int:
        value = shift = 0
        while (byte := self.byte()) >= 128:
            value += (byte - 128) << shift
            shift += 7
        return value + (byte << shift)

    def blob(self) -> bytes:
        return self.take(self.uint())

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def packed(self, size: int) -> bytes:
        method, data = self.byte(), self.blob()
        plain = zlib.decompress(data, -15) if method else data
        assert len(plain) == size
        return plain


def inflate(data: bytes, size: int, dictionary: bytes = b"") -> bytes:
    unpacker = zlib.decompressobj(-15, zdict=dictionary)
    plain = unpacker.decompress(data)
    assert unpacker.eof
    assert len(plain) == size
    return plain


def preset() -> bytes:
    """The preset dictionary, out of the text itself."""
    source = Path(__file__).parents[2] / "src" / "anycodec" / "bitstream" / "FORMAT.md"
    block = source.read_text(encoding="utf-8").split("### Preset dictionary")[1].split("```")[1]
    return "".join(block.splitlines()[1:]).encode("ascii")


def header_of(kind: int, payload: bytes) -> dict:
    """The JSON of a HEADER (1) or BRIEF (7) section."""
    fields = Fields(payload)
    brief = {1: False, 7: True}[kind]
    fingerprint = fields.take(32).hex() if brief and fields.byte() else None
    size = fields.uint()
    document = json.loads(inflate(fields.rest(), size, preset() if brief else b""))
    if fingerprint is not None:
        document["codec"]["fingerprint"] = fingerprint
    return document


class RangeDecoder:
    """The range coder of FORMAT.md, in Python's integers."""

    def __init__(self, body: bytes) -> None:
        self.words = chain(struct.unpack(f"<{len(body) // 4}I", body), repeat(0))
        self.lower, self.extent = 0, U64 - 1
        self.point = next(self.words) << 32 | next(self.words)

    def symbol(self, weights: list[int]) -> int:
        cumulative = [0, *accumulate(weights)]
        size = len(weights)
        left = [value * (2**24 - size) // cumulative[-1] + i for i, value in enumerate(cumulative)]
        scale = self.extent >> 24
        symbol = bisect_right(left, (self.point - self.lower) % U64 // scale) - 1
        self.lower = (self.lower + scale * left[symbol]) % U64
        self.extent = scale * (left[symbol + 1] - left[symbol])
        if self.extent < 2**32:
            self.lower = self.lower << 32 & U64 - 1
            self.extent <<= 32
            self.point = self.point << 32 & U64 - 1 | next(self.words)
        return symbol

    def finish(self) -> None:
        assert (self.point - self.lower) % U64 < 2**33 - 1
