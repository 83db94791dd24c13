"""A second reader of token streams of mode 66, written from FORMAT.md alone, in plain Python."""

from __future__ import annotations

import math

POLYNOMIALS = {4: (0o5, 0o2), 8: (0o13, 0o4), 16: (0o23, 0o4), 32: (0o45, 0o10)}
ORDERS, GAINS, DAMPING = (256, 24), (137438953, 171798692), (16000, 1000)
SPREADS = (90, 179, 307, 640)
RATIOS = [round(2**16 * 2 ** (i / 2)) for i in range(-3, 4)]


def cut(x, most):
    return max(-most, min(most, x))


def cut_place(t):
    return max(-1536, min(1535, t))


class Model:
    def __init__(self):
        self.past = [0] * 256  # v_1 first
        self.a = [[2**28] + [0] * (order - 1) for order in ORDERS]
        self.b = [1.0] + [0.0] * 7
        self.unit()
        self.e = [2**20] * 3
        self.f = self.g = self.l = 2**20
        self.shares = [[2**22] * 4 for _ in range(8)]

    def unit(self):
        self.P = [[float(i == j) for j in range(8)] for i in range(8)]

    def foretell(self):
        self.y = [sum(a * v for a, v in zip(w, self.past, strict=False)) >> 20 for w in self.a]
        self.z = 0.0
        for b, v in zip(self.b, self.past, strict=False):
            self.z += b * v
        self.y.append(math.floor(256 * cut(self.z, 2.0**17)))
        trusts = []
        for e in self.e:
            r = (min(self.e) + 1) * 2**16 // (e + 1)
            q = (r * r >> 16) * r >> 16
            trusts.append(((q * q >> 16) ** 2 >> 16) + 1)
        self.mu = sum(t * y for t, y in zip(trusts, self.y, strict=True)) // sum(trusts)
        self.scale = max(77, 33 * (2 * self.f + 2 * self.l + self.g) >> 16)
        self.context = sum(5 * (self.l + 1) * r <= (3 * self.f + 2 * self.g) * 2**16 for r in RATIOS)

    def below(self, x):
        """s_j(x)."""
        slopes = [2**35 // (self.scale * spread) for spread in SPREADS]
        places = [cut_place((x - self.mu) * slope >> 20) for slope in slopes]
        return [round(65536 / (1 + math.exp(-(t + 0.5) / 128))) for t in places]

    def edge(self, i, z0, size):
        """left_i, and s_j there."""
        if i == 0:
            return 0, [0] * 4
        if i == size // 2:
            return 2**24, [65536] * 4
        s = self.below(256 * (2 * i + z0 - size // 2 - 1))
        w = [share >> 8 for share in self.shares[self.context]]
        w[0] = 2**16 - sum(w[1:])
        total = sum(a * b for a, b in zip(w, s, strict=True))
        return (total * (2**24 - size // 2) >> 32) + i, s

    def learn(self, v, low, high):
        W = self.shares[self.context]
        parts = [(share >> 8) * (b - a + 1) for share, a, b in zip(W, low, high, strict=True)]
        for j in (3, 2, 1):
            W[j] = max(W[j] + ((2**24 * parts[j] // sum(parts)) - W[j] >> 7), 2**14)
        W[0] = max(2**24 - sum(W[1:]), 2**14)
        c = 256 * abs(256 * v - self.mu)
        self.f += 5 * (c - self.f) >> 6
        self.g += 9 * (c - self.g) >> 4
        self.l += (c - self.l) >> 7
        for k in range(3):
            self.e[k] += 256 * abs(256 * v - self.y[k]) - self.e[k] >> 7
        for k, order in enumerate(ORDERS):
            energy = sum(p * p for p in self.past[:order])
            gain = cut((256 * v - self.y[k]) * GAINS[k] // (energy + DAMPING[k]), 2**36)
            self.a[k] = [
                cut(a + (gain * p + 2**15 >> 16), 2**29) for a, p in zip(self.a[k], self.past, strict=False)
            ]
        self.squares(v)
        self.past = [v, *self.past[:-1]]

    def squares(self, v):
        g, s = [], 0.9995
        for row in self.P:
            total = 0.0
            for p, x in zip(row, self.past, strict=False):
                total += p * x
            g.append(total)
            s += total * self.past[len(g) - 1]
        trace = 0.0
        for i in range(8):
            trace += self.P[i][i]
        if not (0.9995 / 2 < s < 2.0**60 and trace < 2.0**20):
            self.unit()
            self.b = [b if abs(b) < 2.0**17 else 0.0 for b in self.b]
            return
        part = (v - self.z) / s
        self.b = [b + gi * part for b, gi in zip(self.b, g, strict=True)]
        self.P = [[(self.P[i][j] - g[i] * g[j] / s) * (1 / 0.9995) for j in range(8)] for i in range(8)]


def read(body, n, window, states, size):
    """Tokens of a stream, without its mode byte."""
    words = [int.from_bytes(body[i : i + 4], "little") for i in range(0, len(body), 4)]
    words += [0, 0]
    lower, extent, point, used = 0, 2**64 - 1, words[0] << 32 | words[1], 2
    h0, h1 = POLYNOMIALS[states]
    model, tokens, a = Model(), [], 0
    for t in range(n):
        if t % window == 0:
            a = 0
        z0 = a % 2
        model.foretell()
        scale = extent >> 24
        q = (point - lower) % 2**64 // scale
        low, high = 0, size // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if model.edge(middle, z0, size)[0] <= q else (low, middle)
        (left, below), (right, above) = model.edge(low, z0, size), model.edge(low + 1, z0, size)
        lower, extent = (lower + scale * left) % 2**64, scale * (right - left)
        if extent < 2**32:
            lower, extent = lower << 32 & 2**64 - 1, extent << 32
            point = (point << 32 & 2**64 - 1) | (words[used] if used < len(words) else 0)
            used += 1
        v = 2 * low + z0 - size // 2
        tokens.append(v + size // 2)
        model.learn(v, below, above)
        z1 = (v - z0) // 2 % 2
        a = a // 2 ^ z0 * (h0 // 2) ^ z1 * (h1 // 2)
    return tokens
