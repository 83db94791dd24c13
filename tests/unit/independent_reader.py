"""A reader of `.acz` files from FORMAT.md alone: the standard library and NumPy, nothing of anycodec.

It restores tokens, and the values of files with an error bound where no codec is needed for them. Written to
be compared with, not to be quick. `python independent_reader.py FILE` shows what such a file holds.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from independent_fields import Fields, RangeDecoder, crc32c, header_of, inflate, preset
from independent_restoration import restored


def sections(data: bytes) -> list[tuple[int, int, bytes]]:
    """(type, offset, payload) of all sections, with all checks of the frame."""
    assert data[:8] == bytes.fromhex("8941435a0d0a1a0a")
    assert data[8:12] in (b"\1\0\0\0", b"\2\0\0\0")
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


def segment(
    payload: bytes, sizes: list[int], priors: list[list[int]], info: dict, tables: tuple | None = None
) -> dict:
    """Fields of a SEGMENT; `tables`: groups and pairs of the first level, where the run has them."""
    fields = Fields(payload)
    found = {"signal": fields.uint(), "start": fields.uint(), "length": fields.uint()}
    windows, grids = fields.uint(), []
    for size, prior in zip(sizes, priors, strict=True):
        shape = [windows, *(fields.uint() for _ in range(fields.byte()))]
        stream, n = fields.blob(), int(np.prod(shape))
        if stream[0] == 64:
            assert tables is not None
            assert not grids
            tokens = decode_in_context(stream, n, prior, *tables, coarser=None)
        else:
            tokens = decode_tokens(stream, n, size, prior)
        grids.append((shape, tokens))
    found["tokens"] = grids
    rows = [0, 1, windows][kind] if (kind := fields.byte()) else 0
    if kind:
        count = 2 * rows * fields.uint()
        planes = fields.packed(4 * count)
        numbers = struct.unpack(
            f"<{count}f", bytes(planes[j * count + i] for i in range(count) for j in range(4))
        )
        found["shift"], found["scale"] = numbers[: count // 2], numbers[count // 2 :]
    shape = info["shape"] if info["axes"] == "HWC" else [found["length"], *info["shape"][1:]]
    if fields.byte():
        count = int(np.prod(shape))
        packed = fields.packed(-(-count // 8))
        found["mask"] = [packed[i // 8] >> 7 - i % 8 & 1 for i in range(count)]
    found["attachments"] = {}
    for _ in range(fields.uint()):
        name = fields.blob().decode()
        found["attachments"][name] = fields.packed(fields.uint())
    if fields.at < len(payload):  # version 2
        for _ in range(fields.uint()):
            kind, part = fields.byte(), fields.blob()
            assert kind == 1 or kind >= 128
            if kind == 1:
                found["values"] = restored(part, info["axes"], tuple(shape))
    assert fields.at == len(payload)
    return found


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


@dataclass
class File:
    """What a file holds: its header, and (description, segment) of each segment in order."""

    header: dict
    segments: list[tuple[dict, dict]]


def read(path: Path, priors: list[list[int]] | None = None, tables: tuple | None = None) -> File:
    """Read a whole file.

    Args:
        path: of version 1 or 2.
        priors: token counts of the run, a list a level; not needed where there are no tokens.
        tables: `token_groups.0` and `token_pairs.0` of the run, where it has them.
    """
    found = sections(path.read_bytes())
    header = header_of(found[0][0], found[0][2])
    assert set(header.get("requires", [])) <= {"restoration"}
    sizes = header["codebook_sizes"]
    file, info = File(header, []), {}
    before = preset() if found[0][0] == 7 else b""
    for kind, _, payload in found[1:]:
        if kind == 2:
            described, text = signal(payload, before)
            before, info = before if info else text, described
        elif kind == 3:
            one = segment(payload, sizes, priors or [[1] * size for size in sizes], info, tables)
            file.segments.append((info, one))
        else:
            assert kind in (4, 5, *range(128, 256)), f"section {kind}"
    return file


def main() -> None:
    file = read(Path(sys.argv[1]))
    print(json.dumps(file.header, indent=1))
    for info, one in file.segments:
        print(info["id"], one["start"], one["length"], one.get("values", one["tokens"]))


if __name__ == "__main__":
    main()
