"""RESTORATION parts by FORMAT.md alone; see `independent_reader`."""

from __future__ import annotations

import math
import struct
from itertools import pairwise

import numpy as np
from independent_fields import Fields, RangeDecoder, crc32c
from independent_regression import decode_regression
from independent_wide import decode_wide

TYPES = [
    "bool",
    *(f"{sign}int{8 << i}" for sign in ("", "u") for i in range(4)),
    "float16",
    "float32",
    "float64",
]
PLAIN, CODEC, RAW = range(3)


def restored(part: bytes, axes: str, shape: tuple) -> np.ndarray | None:
    """The values of a RESTORATION; None where the codec is needed for them."""
    fields = Fields(part)
    path, side = fields.byte(), Fields(fields.blob())
    if path == CODEC:
        return None
    if path == RAW:
        stream = Fields(fields.rest())
        dtype = np.dtype(TYPES[stream.byte()])
        count = math.prod(shape)
        data = stream.packed(count * dtype.itemsize)
        ordered = bytes(data[j * count + i] for i in range(count) for j in range(dtype.itemsize))
        return np.frombuffer(ordered, dtype.newbyteorder("<")).reshape(shape)
    grids = Fields(side.packed(side.uint()))
    channels = [grid(grids) for _ in range(shape[-1])]
    numbers = decode_stream(fields.rest(), axes, shape)
    assert struct.unpack("<I", side.rest())[0] == crc32c(numbers.astype("<i8").tobytes())
    return np.stack([value(numbers[..., c]) for c, value in enumerate(channels)], axis=-1)


def grid(fields: Fields):
    """How k becomes a value."""
    kind = fields.byte()
    if kind == 4:
        digits, count = fields.byte(), fields.uint()
        listed = [sint(fields)]
        for _ in range(count - 1):
            listed.append(listed[-1] + 1 + fields.uint())
        numbers = np.array(listed) / 10.0**digits if digits else np.array(listed)
        return lambda k: numbers[np.clip(k, 0, count - 1)]
    if kind == 0:
        digits, m, o = fields.byte(), fields.uint(), sint(fields)
        low = sint(fields) if m else 0
        high = low + fields.uint() if m else 0

        def decimal(k: np.ndarray) -> np.ndarray:
            n = o + k * (2 * m + 1)
            n = np.clip(n, low, high) if m else n
            return n / 10.0**digits if digits else n

        return decimal
    o, s = struct.unpack("<2d", fields.take(16))
    dtype = (np.float16, np.float32, np.float64)[kind - 1]
    return lambda k: (o + k * s).astype(dtype)


ENDS = [*range(13), *range(14, 29, 2), 32, 36, 40, 44, 52, 60]
TAILS = [(4096, 0), (3968, 128), (3584, 512), (3072, 1024)]


def sint(fields: Fields) -> int:
    number = fields.uint()
    return number // 2 if number % 2 == 0 else -(number + 1) // 2


def cut(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


class Bits:
    def __init__(self, data: bytes) -> None:
        self.text = "".join(f"{byte:08b}" for byte in data)

    def take(self, count: int) -> int:
        taken, self.text = self.text[:count], self.text[count:]
        return int(taken, 2) if taken else 0


class Values:
    """v, e and r by place; what does not exist is 0."""

    def __init__(self, axes: str, shape: tuple, lane: int, reference: list | None) -> None:
        self.axes, self.shape, self.lane, self.reference = axes, shape, lane, reference
        self.v: dict = {}
        self.e: dict = {}

    def order(self) -> list:
        places = list(np.ndindex(*self.shape))
        return sorted(places, key=lambda place: (self.step(place), place))

    def step(self, place: tuple) -> int:
        if self.axes == "TC":
            return place[0] % self.lane
        *t, h, w, c = place
        return (w + 2 * h + 4 * (t[0] if t else 0)) * self.shape[-1] + c

    def neighbours(self, place: tuple) -> list:
        if self.axes == "TC":
            t, c = place
            return [(t - i, c) if i <= t % self.lane else None for i in range(1, 21)]
        *t, h, w, c = place
        frames = self.shape[0] if t else 1
        near = [(0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0)]
        found = [(*t, h - a, w - b, c) for a, b in near]
        if self.shape[-1] > 1:
            found += [self.back((*t, h - a, w - b, c), 1) for a, b in [(0, 0), (0, 1), (1, 0)]]
            found += [self.back(place, 2)]
        if frames > 1:
            found += [(t[0] - 1, h - a, w - b, c) for a, b in [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]]
        return found

    def back(self, place: tuple, numbers: int) -> tuple:
        *t, h, w, c = place
        row, pixel = divmod(w * self.shape[-1] + c - numbers, self.shape[-1])
        return (*t, h, row, pixel)

    def activity(self, place: tuple) -> int:
        near = self.neighbours(place)
        if self.axes == "TC":
            pairs = list(zip(near, [4, 3, 2, 2, 1, 1, 1, 1], strict=False))
        else:
            pairs = list(zip(near, [4, 4, 2, 2], strict=False))
            if self.shape[-1] > 1:
                pairs.append((near[6], 4))
            if self.axes == "THWC" and self.shape[0] > 1:
                pairs.append((near[-5], 2))
        return sum(weight * abs(self.e.get(one, 0)) for one, weight in pairs)

    def planes(self, place: tuple) -> list:
        if self.reference is None:
            return []
        moves = {"TC": [(0, 1), (0, -1)], "HWC": [(1, 1), (0, 1)], "THWC": [(2, 1), (1, 1)]}[self.axes]
        found = [self.reference[place]]
        for axis, by in moves:
            moved = list(place)
            moved[axis] = cut(place[axis] - by, 0, self.shape[axis] - 1)
            found.append(self.reference[tuple(moved)])
        return [int(one) - self.bases[place[-1]] for one in found]


def decode_stream(data: bytes, axes: str, shape: tuple, reference=None, models=None) -> np.ndarray:
    fields = Fields(data)
    bases = [sint(fields) for _ in range(shape[-1])]
    kind = fields.byte()
    if kind in (2, 3):
        assert (axes, reference) == ("TC", None)
        values = decode_wide(fields, shape[0]) if kind == 2 else decode_regression(fields, *shape)
        assert fields.at == len(data)
        return np.array(values, np.int64).reshape(shape) + bases
    known = Values(axes, shape, fields.uint() if axes == "TC" else 0, reference)
    known.bases = bases
    if kind == 0:
        expected, h = linear(fields, known, 0 if reference is None else 3)
    else:
        expected, h = by_network(fields, known, models)
    reach = fields.uint()
    decoder, bits = RangeDecoder(fields.blob()), Bits(fields.blob())
    unit, half = 2**h, 2**h // 2
    starts = [-60 * unit - half - 2**reach, *(-end * unit - half for end in ENDS[::-1])]
    starts += [end * unit + unit - half for end in ENDS]
    for place in known.order():
        centre, mixture = expected(place)
        weights = bucket_weights(starts, h, mixture)
        bucket = symbol(decoder, weights)
        width = 2**reach if bucket in (0, 54) else starts[bucket + 1] - starts[bucket]
        e = starts[bucket] + bits.take((width - 1).bit_length())
        known.v[place], known.e[place] = centre + e, e
    if known.v:
        decoder.finish()
    assert fields.at == len(data)
    assert set(bits.text) <= {"0"}
    found = np.zeros(shape, np.int64)
    for place, value in known.v.items():
        found[place] = value + bases[place[-1]]
    return found


def symbol(decoder: RangeDecoder, left: list[int]) -> int:
    """`RangeDecoder.symbol` takes weights; these are exact, their sum is 2^24 - 55."""
    return decoder.symbol([b - a - 1 for a, b in pairwise(left)])


def bucket_weights(starts: list[int], h: int, mixture: list) -> list[int]:
    left = [0]
    for i in range(1, 55):
        below = 0
        for mean, scale, weight in mixture:
            edge = (16 * starts[i] - 8) >> h
            t = cut((edge - mean) * round(2 ** (17 - scale / 8)) >> 10, -1536, 1535)
            below += weight * round(65536 / (1 + math.exp(-(t + 0.5) / 128)))
        left.append((below * (2**24 - 55) >> 28) + i)
    return [*left, 2**24]


def linear(fields: Fields, known: Values, planes: int):
    taps, h, tail, first, classes = (fields.byte() for _ in range(5))
    scales = list(fields.take(classes))
    inputs, channels = taps + planes + 1, known.shape[-1]
    flat = struct.unpack(f"<{channels * inputs}h", fields.take(2 * channels * inputs))

    def expected(place: tuple):
        weights = flat[place[-1] * inputs : (place[-1] + 1) * inputs]
        near = [known.v.get(one, 0) for one in known.neighbours(place)[:taps]] + known.planes(place)
        y = sum(a * v for a, v in zip(weights, near, strict=False)) + weights[-1] + 2**7 >> 8
        y = cut(y, -(2**46), 2**46)
        centre = y + 8 >> 4
        mean = y - 16 * centre >> h
        activity = known.activity(place)
        number = sum(math.isqrt(2**i) <= activity for i in range(83)) - first
        scale = scales[cut(number, 0, classes - 1)]
        heavy, light = TAILS[tail]
        return centre, [(mean, scale, heavy), (mean, min(scale + 24, 96), light)]

    return expected, h


def by_network(fields: Fields, known: Values, models: dict):
    (a, ab), (b, bb), (c, cb) = models[fields.uint()]
    level, h = fields.byte(), fields.byte()
    gain, size = round(2 ** (21 - level / 16)), round(2 ** (8 + level / 16))

    def layer(weights, bias, inputs):
        return [
            sum(w * x for w, x in zip(row, inputs, strict=True)) + y
            for row, y in zip(weights, bias, strict=True)
        ]

    def expected(place: tuple):
        v = [known.v.get(one, 0) for one in known.neighbours(place)]
        u = [cut(cut(v[20 - i] - v[0], -(2**24), 2**24) * gain >> 16, -256, 255) for i in range(1, 20)]
        hidden = [cut(x >> 6, 0, 255) for x in layer(a, ab, [*u, 2 * level])]
        hidden = [cut(x >> 6, 0, 255) for x in layer(b, bb, hidden)]
        o = layer(c, cb, hidden)
        p = [round(2 ** (12 - min(511, max(o[:3]) - x >> 6) / 32)) for x in o[:3]]
        w = [4096 * x // sum(p) for x in p]
        top = w.index(max(w))
        w[top] += 4096 - sum(w)
        mu = [x * size >> 15 for x in o[3:6]]
        x = mu[top] + 8 >> 4
        means = [cut(m - 16 * x >> h, -8191, 8191) for m in mu]
        scales = [cut((y >> 8) + 20 + level // 2 - 8 * h, 0, 96) for y in o[6:]]
        return v[0] + x, list(zip(means, scales, w, strict=True))

    return expected, h
