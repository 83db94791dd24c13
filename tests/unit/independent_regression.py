"""Residual streams of regressions, from FORMAT.md alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from independent_fields import Fields
from independent_wide import Decoder, cut

FORGETTING = 1 - 2**-13
WIDTHS = [6, 11, 20, 48]


@dataclass
class Channel:
    n: int
    shift: int
    weights: list[float] = field(default_factory=list)
    p: list[list[float]] = field(default_factory=list)
    fast: int = 4096
    slow: int = 4096

    def __post_init__(self) -> None:
        self.weights = [1.0] + [0.0] * (self.n - 1)
        self.reset()
        self.shares = [[2**14] * 4 for _ in range(6)]

    def reset(self) -> None:
        self.p = [[2.0**-7 if i == j else 0.0 for j in range(self.n)] for i in range(self.n)]

    def learn(self, x: list[float], error: float) -> None:
        gain = []
        for i in range(self.n):
            total = 0.0
            for j in range(self.n):
                total += self.p[j][i] * x[j]
            gain.append(total)
        energy = FORGETTING
        for one, other in zip(x, gain, strict=True):
            energy += one * other
        if energy >= FORGETTING:
            for i in range(self.n):
                scaled = gain[i] / energy
                self.weights[i] += scaled * error
                self.p[i] = [(old - scaled * g) / FORGETTING for old, g in zip(self.p[i], gain, strict=True)]
        if not (energy >= FORGETTING and all(self.p[i][i] < 2.0**40 for i in range(self.n))):
            self.reset()

    def context(self) -> int:
        return sum(16 * self.fast // max(self.slow, 1) >= bound for bound in (6, 9, 13, 18, 26))

    def mixture(self, context: int) -> tuple[list[int], list[int]]:
        shares = self.shares[context]
        w = [4096 * one // sum(shares) for one in shares]
        w[0] += 4096 - sum(w)
        return w, [min(2**33 // max((self.fast + self.slow) * width, 1), 2**20) for width in WIDTHS]

    def observe(self, off: int, context: int, w: list[int], parts: list[int]) -> None:
        size = 256 * min(abs(off), 2**24)
        self.fast += (size - self.fast) >> 3
        self.slow += (size - self.slow) >> 7
        total = sum(a * b for a, b in zip(w, parts, strict=True))
        shares = self.shares[context]
        if total > 0:
            for j in range(4):
                shares[j] = max(shares[j] + ((65536 * w[j] * parts[j] // total - shares[j]) >> 5), 256)


def decode_regression(fields: Fields, n: int, channels: int) -> list[list[int]]:
    """Values less their bases, row by row, from what follows the byte of the predictor."""
    others = min(6, channels - 1)
    known = [Channel(9 + 2 * others, fields.byte()) for _ in range(channels)]
    decoder = Decoder(fields.blob())
    v = [[0] * channels for _ in range(8)]
    for _ in range(n):
        v.append([0] * channels)
        for c, channel in enumerate(known):
            x = [v[-1 - i][c] for i in range(1, 9)]
            for other in range(1, others + 1):
                o = (c - other) % channels
                now = -1 if o < c else -2
                x += [v[now][o] - v[now - 1][o], v[-2][o]]
            v[-1][c] = value_of(decoder, channel, [float(cut(one, -(2**30), 2**30)) for one in [*x, 1]])
    if n and channels:
        decoder.finish()
    return v[8:]


def value_of(decoder: Decoder, channel: Channel, x: list[float]) -> int:
    guess = 0.0
    for weight, one in zip(channel.weights, x, strict=True):
        guess += weight * one
    guess = min(max(guess, -(2.0**41)), 2.0**41)
    y, h = math.floor(16 * guess + 0.5), channel.shift
    half, centre, context = 2**h // 2, y + 8 >> 4, channel.context()
    w, inverse = channel.mixture(context)
    parts = [share_of(i, ((-16 * half - 8) >> h) - ((y - 16 * centre) >> h), inverse) for i in range(1, 1026)]
    parts = [[0] * 4, *parts, [2**20] * 4]
    below = [sum(a * b for a, b in zip(w, part, strict=True)) for part in parts]
    left = [(one * (2**24 - 1026) >> 32) + i for i, one in enumerate(below)]
    left[0], left[-1] = 0, 2**24
    bucket = decoder.choose(left)
    if bucket in (0, 1025):
        number = decoder.plain(6)
        beyond = 2 ** (number - 1) + decoder.plain(number - 1) - 1
        e = 2 ** (9 + h) + beyond if bucket else -(2 ** (9 + h)) - 1 - beyond
    else:
        e = (bucket - 513) * 2**h + decoder.plain(h)
    value = cut(centre + e - half, -(2**42), 2**42)
    found = [b - a for a, b in zip(parts[bucket], parts[bucket + 1], strict=True)]
    channel.observe((16 * value - y) >> h, context, w, found)
    channel.learn(x, value - guess)
    return value


def share_of(i: int, corner: int, inverse: list[int]) -> list[int]:
    shares = []
    for one in inverse:
        z = cut((16 * (i - 513) + corner) * one >> 8, -49151, 49151) + 49152
        low, high = (round(2**20 / (1 + math.exp(12 - k / 16))) for k in (z >> 8, (z >> 8) + 1))
        shares.append(low + ((high - low) * (z % 256) >> 8))
    return shares
