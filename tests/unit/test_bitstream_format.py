"""FORMAT.md is enough to write a reader: here is one, from that text alone, beside ours."""

import json
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, chain, repeat
from pathlib import Path

import acz_files as acz
import numpy as np
import pytest

from anycodec.bitstream.adaptation import bounded
from anycodec.bitstream.container import AczReader
from anycodec.bitstream.context import ContextCoder, TokenContext
from anycodec.bitstream.entropy import AdaptiveCoder

GOLDEN = Path(__file__).parents[1] / "golden" / "acz"
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


def sections(data: bytes) -> list[tuple[int, int, bytes]]:
    """(type, offset, payload) of all sections, with all checks of the frame."""
    assert data[:12] == bytes.fromhex("8941435a0d0a1a0a 0100 0000")
    assert struct.unpack("<I", data[12:16])[0] == crc32c(data[:12])
    end, crc = struct.unpack("<QI", data[-20:-8])
    assert data[-8:] == b"ACZ.END\n"
    assert crc == crc32c(data[-20:-12] + data[-8:])
    found, offset = [], 16
    while offset < len(data) - 20:
        kind, length = struct.unpack_from("<BI", data, offset)
        body = data[offset : offset + 5 + length]
        assert struct.unpack_from("<I", data, offset + 5 + length)[0] == crc32c(body)
        found.append((kind, offset, body[5:]))
        offset += 9 + length
    assert found[-1][:2] == (5, end)
    return found


def signal(payload: bytes, first: bytes) -> tuple[dict, bytes]:
    fields = Fields(payload)
    fields.uint()
    uuid = fields.take(16).hex() if fields.byte() else None
    text = inflate(*reversed((fields.uint(), fields.rest())), first)
    document = json.loads(text)
    if uuid:
        document["id"] = "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]))
    return document, text


def segment(payload: bytes, sizes: list[int], priors: list[list[int]]) -> dict:
    fields = Fields(payload)
    found = {"signal": fields.uint(), "start": fields.uint(), "length": fields.uint()}
    windows, grids = fields.uint(), []
    for size, prior in zip(sizes, priors, strict=True):
        shape = [windows, *(fields.uint() for _ in range(fields.byte()))]
        grids.append((shape, decode_tokens(fields.blob(), int(np.prod(shape)), size, prior)))
    found["tokens"] = grids
    rows = [0, 1, windows][kind] if (kind := fields.byte()) else 0
    if kind:
        count = 2 * rows * fields.uint()
        planes = fields.packed(4 * count)
        numbers = struct.unpack(
            f"<{count}f", bytes(planes[j * count + i] for i in range(count) for j in range(4))
        )
        found["shift"], found["scale"] = numbers[: count // 2], numbers[count // 2 :]
    if fields.byte():
        packed = fields.packed(-(-found["length"] // 8))
        found["mask"] = [packed[i // 8] >> 7 - i % 8 & 1 for i in range(found["length"])]
    found["attachments"] = {}
    for _ in range(fields.uint()):
        name = fields.blob().decode()
        found["attachments"][name] = fields.packed(fields.uint())
    assert fields.at == len(payload)
    return found


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


def block_lengths(n: int, size: int) -> Iterator[int]:
    longest, done = max(4096, size // 4), 0
    while done < n:
        length = min(longest, max(longest // 16, done), n - done)
        yield length
        done += length


def halved(counts: list[int]) -> list[int]:
    while sum(counts) >= 2**28:
        counts = [(count + 1) // 2 for count in counts]
    return counts


def decode_tokens(stream: bytes, n: int, size: int, counts: list[int]) -> list[int]:
    mode, body = stream[0], stream[1:]
    if mode == 0:
        bits = (size - 1).bit_length()
        number = int.from_bytes(body, "big") >> (8 * len(body) - n * bits)
        return [number >> bits * (n - 1 - i) & 2**bits - 1 for i in range(n)]
    counts = halved(counts if any(counts) else [1] * size)
    weights = [count * (size * 2 ** (mode - 1) * 32) // sum(counts) + 1 for count in counts]
    decoder = RangeDecoder(body)
    tokens: list[int] = []
    for length in block_lengths(n, size):
        block = [decoder.symbol(weights) for _ in range(length)]
        for token in block:
            weights[token] += 32
        tokens += block
    if n:
        decoder.finish()
    return tokens


def decode_in_context(
    stream: bytes, n: int, counts: list[int], groups: list[int], pairs: list[list[int]],
    *, coarser: list[int] | None,
) -> list[int]:  # fmt: skip
    """Mode 64; `coarser`: the context of each token where it comes from the level before."""
    assert stream[0] == 64
    width = len(pairs[0])
    flat = halved([count for row in pairs for count in row])
    counts = halved(counts if any(counts) else [1] * len(groups))
    overall = [
        sum(count for count, group in zip(counts, groups, strict=True) if group == j) for j in range(width)
    ]
    pair = [
        [32 * flat[h * width + j] + 32 * 64 * overall[j] // sum(counts) + 1 for j in range(width)]
        for h in range(len(pairs))
    ]
    member = [32 * count + 1 for count in counts]
    codes = [[i for i, group in enumerate(groups) if group == j] for j in range(width)]
    decoder = RangeDecoder(stream[1:])
    tokens: list[int] = []
    for length in block_lengths(n, len(groups)):
        found = [-1] * length
        if coarser is None:
            contexts = []
            for i in range(length):
                contexts.append(found[i - 1] if i else groups[tokens[-1]] if tokens else 0)
                found[i] = decoder.symbol(pair[contexts[i]])
        else:
            contexts = coarser[len(tokens) : len(tokens) + length]
            for i in sorted(range(length), key=lambda i: contexts[i]):
                found[i] = decoder.symbol(pair[contexts[i]])
        block = [-1] * length
        for i in sorted(range(length), key=lambda i: found[i]):
            own = codes[found[i]]
            block[i] = own[decoder.symbol([member[code] for code in own]) if len(own) > 1 else 0]
        for context, group, token in zip(contexts, found, block, strict=True):
            pair[context][group] += 32
            member[token] += 32
        tokens += block
    decoder.finish()
    return tokens


def test_crc_of_the_specification():
    assert crc32c(b"123456789") == 0xE3069283


def test_golden_file_by_the_specification():
    expected = json.loads((GOLDEN / "v1.json").read_text())
    found = sections((GOLDEN / "v1.acz").read_bytes())
    assert [kind for kind, _, _ in found] == [1, 2, 3, 3, 2, 3, 2, 3, 4, 5]
    fields = Fields(found[0][2])
    header = json.loads(inflate(*reversed((fields.uint(), fields.rest()))))
    assert header["source_name"] == "série.csv"
    assert header["codec"]["fingerprint"] == "ab" * 32
    remaining, first, info = iter(expected["segments"]), b"", {}
    for kind, _, payload in found:
        if kind == 2:
            info, text = signal(payload, first)
            first = first or text
        if kind == 3:
            check_segment(
                info, segment(payload, header["codebook_sizes"], expected["priors"]), next(remaining)
            )
    assert next(remaining, None) is None


def check_segment(info: dict, found: dict, wanted: dict) -> None:
    assert (info["id"], info["shape"], info.get("meta", {})) == (
        wanted["id"],
        wanted["shape"],
        wanted["meta"],
    )
    assert (found["start"], found["length"]) == (wanted["start"], wanted["length"])
    assert found["tokens"] == [(grid["shape"], grid["values"]) for grid in wanted["tokens"]]
    for name in ("shift", "scale"):
        assert list(found.get(name, [])) == [value for row in wanted[name] or [] for value in row]
    assert found.get("mask", []) == [value for row in wanted["mask"] or [] for value in row]
    assert {name: data.hex() for name, data in found["attachments"].items()} == wanted["attachments"]


def test_golden_index_and_totals_by_the_specification():
    found = sections((GOLDEN / "v1.acz").read_bytes())
    (_, index_offset, index), (_, _, end) = found[-2:]
    fields = Fields(index)
    previous, count = fields.uint(), fields.uint()
    rows = Fields(inflate(*reversed((fields.uint(), fields.rest()))))
    offset = number = 0
    entries = []
    for _ in range(count):
        kind = rows.byte()
        offset, number = offset + rows.uint(), number + rows.uint()
        entries.append((kind, offset, number, rows.uint(), rows.uint()))
    assert previous == 0
    assert [entry[:2] for entry in entries] == [part[:2] for part in found[1:-2]]
    assert [entry[2:] for entry in entries if entry[0] == 3] == [
        (0, 0, 600),
        (0, 600, 40),
        (1, 0, 0),
        (2, 0, 10),
    ]
    fields = Fields(end)
    totals = [fields.uint() for _ in range(15)]
    assert fields.at == len(end)
    assert totals[:9] == [index_offset, 3, 4, 32, 32 * 45, 650, 650, 0, 2600]
    assert totals[9] == len(found[0][2])
    assert totals[10] == sum(len(payload) for kind, _, payload in found if kind == 2)


def test_golden_file_decodes_for_ever():
    """Written by anycodec 0.1.0. If this fails, mend the reader, not the file."""
    expected = json.loads((GOLDEN / "v1.json").read_text())
    coder = AdaptiveCoder([np.array(prior) for prior in expected["priors"]])
    with AczReader(GOLDEN / "v1.acz") as reader:
        assert reader.header.file.meta == {"separator": ";", "columns": ["t", "x"]}
        for (info, found), wanted in zip(reader.segments(coder), expected["segments"], strict=True):
            assert (info.id, info.shape, info.meta) == (wanted["id"], tuple(wanted["shape"]), wanted["meta"])
            assert (info.rate, info.unit, info.dtype) == (0.1, "°C", "float32")
            assert (found.start, found.length) == (wanted["start"], wanted["length"])
            for grid, level in zip(found.tokens.grids, wanted["tokens"], strict=True):
                np.testing.assert_array_equal(grid, np.array(level["values"], int).reshape(level["shape"]))
            for name in ("shift", "scale"):
                numbers = None if found.affine is None else getattr(found.affine, name).tolist()
                assert numbers == wanted[name]
            assert (None if found.mask is None else found.mask.astype(int).tolist()) == wanted["mask"]
            assert {name: data.hex() for name, data in found.attachments.items()} == wanted["attachments"]


def test_golden_tokens_are_coded_to_the_same_bytes():
    expected = json.loads((GOLDEN / "v1.json").read_text())
    coder = AdaptiveCoder([np.array(prior) for prior in expected["priors"]])
    modes = set()
    with AczReader(GOLDEN / "v1.acz") as reader:
        for (_, found), wanted in zip(reader.records(), expected["segments"], strict=True):
            for level, (stream, grid) in enumerate(zip(found.streams, wanted["tokens"], strict=True)):
                assert coder.encode(np.array(grid["values"], np.int64), level) == stream
                modes.add(stream[0])
    assert 0 in modes
    assert len(modes) > 1, "both the packed and an adaptive mode"


@pytest.mark.parametrize(("size", "n"), [(2, 3000), (300, 9000), (20_000, 2000)])
@pytest.mark.parametrize("seed", [0, 1])
def test_token_streams_by_the_specification(size, n, seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(size, 0.05)) * 0.999 + 0.001 / size
    prior = rng.multinomial(10**7, p) if seed else rng.integers(0, 2**40, size)
    symbols = rng.choice(size, n, p=p)
    stream = AdaptiveCoder([prior]).encode(symbols, 0)
    assert stream[0] > 0
    assert decode_tokens(stream, n, size, prior.tolist()) == symbols.tolist()


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("largest", [50, 2**40])
def test_streams_in_context_by_the_specification(across, largest):
    rng = np.random.default_rng(0)
    size, n = 40, 3000
    groups = rng.permutation(np.arange(size) % 7)
    tokens = np.abs(np.cumsum(rng.integers(-2, 3, n)) % (2 * size) - size) % size
    above = (tokens + rng.integers(0, 2, n)) % size
    pairs = np.zeros((7, 7), np.int64)
    first, second = (above, tokens) if across else (tokens[:-1], tokens[1:])
    np.add.at(pairs, (groups[first], groups[second]), 1)
    pairs *= largest // pairs.max()
    prior = rng.integers(0, largest, size)
    context = TokenContext(groups=groups, pairs=pairs, coarser=groups if across else None)
    stream = ContextCoder(context, bounded(prior)).encode(tokens, above)
    contexts = groups[above].tolist() if across else None
    decoded = decode_in_context(
        b"\x40" + stream, n, prior.tolist(), groups.tolist(), pairs.tolist(), coarser=contexts
    )
    assert decoded == tokens.tolist()


def test_sections_of_a_file_with_everything(tmp_path):
    found = sections(acz.write_small(tmp_path / "a.acz", sizes=(64, 8)).read_bytes())
    assert [kind for kind, _, _ in found] == [1, 2, 3, 3, 2, 3, 3, 4, 5]
