"""Residual streams of wide networks, from FORMAT.md alone."""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from functools import cache
from pathlib import Path

from independent_fields import U64, Fields, RangeDecoder

MODELS = Path(__file__).parents[2] / "src" / "anycodec" / "bitstream" / "models"
FILES = ["nanopore-wide-1.bin"]


def cut(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


class Decoder(RangeDecoder):
    def pointed(self) -> int:
        return (self.point - self.lower) % U64 // (self.extent >> 24)

    def step(self, left: int, right: int) -> None:
        scale = self.extent >> 24
        self.lower = (self.lower + scale * left) % U64
        self.extent = scale * (right - left)
        if self.extent < 2**32:
            self.lower = self.lower << 32 & U64 - 1
            self.extent <<= 32
            self.point = self.point << 32 & U64 - 1 | next(self.words)

    def choose(self, left: list[int]) -> int:
        found = bisect_right(left, self.pointed()) - 1
        self.step(left[found], left[found + 1])
        return found

    def plain(self, bits: int) -> int:
        value = 0
        while bits:
            piece = min(16, bits)
            number = self.pointed() >> 24 - piece
            self.step(number << 24 - piece, number + 1 << 24 - piece)
            value = value << piece | number
            bits -= piece
        return value


@cache
def model_file(name: str) -> list:
    fields, layers, inputs = Fields((MODELS / name).read_bytes()), [], 39
    for _ in range(3):
        outputs = fields.uint()
        content = fields.packed(outputs * (2 * inputs + 4))
        n = outputs * inputs
        weights = [struct.unpack("<h", bytes([content[i], content[n + i]]))[0] for i in range(n)]
        bias = struct.unpack(f"<{outputs}i", content[2 * n :])
        layers.append(([weights[i * inputs : (i + 1) * inputs] for i in range(outputs)], bias))
        inputs = outputs
    assert fields.at == len(fields.data)
    return layers


def product(layer: tuple, inputs: list[int]) -> list[int]:
    return [
        sum(w * x for w, x in zip(row, inputs, strict=True)) + bias for row, bias in zip(*layer, strict=True)
    ]


def decode_wide(fields: Fields, n: int) -> list[int]:
    """Values less their base, from what follows the byte of the predictor."""
    layers = model_file(FILES[fields.uint()])
    level, spread, h = fields.byte(), fields.byte(), fields.byte()
    decoder = Decoder(fields.blob())
    gain, size, unit = round(2 ** (24 - level / 16)), round(2 ** (8 + level / 16)), 2**h
    v, x = [0] * 32, [0] * 32
    averages = [0, 0, 39322, 39322, 65536]
    for _ in range(n):
        y = x[-1]
        u = [(x[-1 - i] - y) * gain >> 16 for i in range(1, 32)]
        u += [y * gain >> 18, ((averages[0] >> 8) - y) * gain >> 16, ((averages[1] >> 8) - y) * gain >> 17]
        u += [*(one >> 8 for one in averages[2:]), 4 * level, 4 * spread]
        f = [cut(one >> 10, 0, 4095) for one in product(layers[0], [cut(one, -4095, 4095) for one in u])]
        g = [cut(one >> 10, 0, 4095) for one in product(layers[1], f)]
        moved, mixture = expected(product(layers[2], g), level, size, h)
        bucket = decoder.choose(borders(mixture, h))
        if bucket in (0, 1025):
            number = decoder.plain(6)
            beyond = 2 ** (number - 1) + decoder.plain(number - 1) - 1
            e = 2 ** (9 + h) + beyond if bucket else -(2 ** (9 + h)) - 1 - beyond
        else:
            e = (bucket - 513) * unit + decoder.plain(h)
        v.append(cut(v[-1] + moved + e - unit // 2, -(2**42), 2**42))
        x.append(cut(v[-1], -(2**24), 2**24))
        d = abs(x[-1] - x[-2]) * gain >> 16
        news = [x[-1], x[-1], min(d, 256), min(d, 256), min(d, 4095)]
        for i, (new, rate) in enumerate(zip(news, [5, 8, 4, 7, 9], strict=True)):
            averages[i] += (256 * new - averages[i]) >> rate
    if n:
        decoder.finish()
    return v[32:]


def expected(o: list[int], level: int, size: int, h: int) -> tuple[int, list]:
    p = [round(2 ** (12 - min(511, max(o[:4]) - one >> 13) / 32)) for one in o[:4]]
    w = [4096 * one // sum(p) for one in p]
    top = o.index(max(o[:4]))
    w[top] += 4096 - sum(w)
    mu = [(one >> 8) * size >> 14 for one in o[4:8]]
    moved = mu[top] + 8 >> 4
    means = [cut(one - 16 * moved >> h, -16383, 16383) for one in mu]
    scales = [cut((one >> 13) + 2 * level + 64 - 32 * h, 0, 511) for one in o[8:]]
    return moved, list(zip(w, means, scales, strict=True))


def borders(mixture: list, h: int) -> list[int]:
    left = [0]
    for i in range(1, 1026):
        edge = 16 * (i - 513) + ((-16 * (2**h // 2) - 8) >> h)
        below = 0
        for weight, mean, scale in mixture:
            z = cut((edge - mean) * round(2 ** (20 - scale / 32)) >> 8, -49151, 49151) + 49152
            low, high = (round(2**20 / (1 + math.exp(12 - i / 16))) for i in (z >> 8, (z >> 8) + 1))
            below += weight * (low + ((high - low) * (z % 256) >> 8))
        left.append((below * (2**24 - 1026) >> 32) + i)
    return [*left, 2**24]
