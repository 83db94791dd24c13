"""Mode 65 of token streams, written from FORMAT.md alone, in Python's whole numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from independent_fields import Fields

Place = tuple[int, ...]


class Coder:
    """The range coder of mode 1."""

    def __init__(self, data: bytes) -> None:
        self._words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
        self._at, self._lower, self._range = 2, 0, 2**64 - 1
        self._point = self._word(0) << 32 | self._word(1)

    def _word(self, at: int) -> int:
        return self._words[at] if at < len(self._words) else 0

    def symbol(self, left: Sequence[int]) -> int:
        scale = self._range >> 24
        q = (self._point - self._lower) % 2**64 // scale
        symbol = max(i for i in range(len(left) - 1) if left[i] <= q)
        self._lower = (self._lower + scale * left[symbol]) % 2**64
        self._range = scale * (left[symbol + 1] - left[symbol])
        if self._range < 2**32:
            self._lower, self._range = (self._lower << 32) % 2**64, self._range << 32
            self._point = (self._point << 32 | self._word(self._at)) % 2**64
            self._at += 1
        return symbol


def model(outputs: Sequence[int | None], shift: int) -> list[int]:
    """left_0 .. left_n; None is not there."""
    n, largest = len(outputs), max(o for o in outputs if o is not None)
    parts = [0 if o is None else round(2 ** (20 - min(639, largest - o >> shift) / 32)) for o in outputs]
    factor = (2**24 - n) * 2**24 // sum(parts)
    left = [(sum(parts[:i]) * factor >> 24) + i for i in range(n)]
    return [*left, 2**24]


class Level:
    """One level of a prior."""

    def __init__(self, arrays: Mapping[str, Any], level: int) -> None:
        prefix = f"{level}."
        self.arrays = {
            name[len(prefix) :]: a.tolist() for name, a in arrays.items() if name.startswith(prefix)
        }
        self.groups = self.arrays.get("groups")

    def layer(self, name: str, x: Sequence[int], more: Sequence[int] | None = None) -> list[int]:
        rows = zip(self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"], strict=True)
        sums = [sum(w * v for w, v in zip(row, x, strict=True)) + bias for row, bias in rows]
        return sums if more is None else [a + b for a, b in zip(sums, more, strict=True)]

    def cut(self, name: str, sums: Sequence[int]) -> list[int]:
        return [min(max(value >> self.arrays[f"{name}.shift"], 0), 255) for value in sums]

    def hidden(self, codes: Sequence[tuple[int, int]], inside: Place) -> list[int]:
        x = [v for source, code in codes for v in self.arrays[f"codes.{source}"][code]]
        tables = [self.arrays[f"places.{axis}"] for axis in range(len(inside))]
        rows = [table[place % len(table)] for table, place in zip(tables, inside, strict=True)]
        h = self.cut("a", self.layer("a", x, [sum(column) for column in zip(*rows, strict=True)]))
        return self.cut("b", self.layer("b", h))


def decode(
    data: bytes, windows: int, grid: Place, before: Sequence[Any], arrays: Mapping[str, Any]
) -> list[dict[Place, int]]:
    """Tokens of each window by place, of the level after those of `before` ([N *g] arrays)."""
    level, number = Level(arrays, len(before)), len(before)
    fields = Fields(data)
    beside, run, rate = fields.uint(), fields.uint(), fields.byte()
    coder = Coder(fields.rest())
    size = len(level.arrays[f"codes.{number}"]) - 1
    lanes = beside * math.ceil(math.ceil(windows / beside) / run)
    known: dict[tuple[int, int, Place], int] = {}  # (level, lane, place) -> code

    def where(window: int, inside: Place, own: Place) -> tuple[int, Place]:
        step = window // beside
        lane, within = window % beside + beside * (step // run), step % run
        if len(own) == 2:
            return lane, (within, *inside)
        return lane, (within * own[0] + inside[0], *inside[1:])

    for source, tokens in enumerate(before):
        for window, *inside in itertools.product(*map(range, tokens.shape)):
            lane, place = where(window, tuple(inside), tokens.shape[1:])
            known[source, lane, place] = int(tokens[(window, *inside)])
    todo = []
    for window, *inside in itertools.product(range(windows), *map(range, grid)):
        lane, place = where(window, tuple(inside), grid)
        weights = (1,) if len(place) == 1 else (5, 3, 1)
        step = sum(w * p for w, p in zip(weights, place, strict=True))
        todo.append((step, lane, place, window, tuple(inside)))
    assert all(lane < lanes for _, lane, *_ in todo)
    sizes = [len(arrays[f"{m}.codes.{m}"]) - 1 for m in range(number + 1)]
    extents = [_extents(run, [*(t.shape[1:] for t in before), grid][m]) for m in range(number + 1)]
    found: list[dict[Place, int]] = [{} for _ in range(windows)]
    sums = [0] * len(level.arrays["c.bias"])
    shift = level.arrays["c.shift"]
    for _, same in itertools.groupby(sorted(todo), key=lambda one: one[0]):
        step, corrected = list(same), []
        most = 2 ** (8 + shift)
        for t in sums:
            corrected.append(min(max(math.floor(t * 2.0 ** (shift - 19 - rate)), -most), most) if rate else 0)
        coded, decoded = [], []
        for _, lane, place, _, inside in step:
            codes = []
            for m, *offset in level.arrays["contexts"]:
                base = [p * e // own for p, e, own in zip(place, extents[m], extents[number], strict=True)]
                there = tuple(b + o for b, o in zip(base, offset, strict=True))
                codes.append((m, known.get((m, lane, there), sizes[m])))
            g = level.hidden(codes, inside)
            left = model(level.layer("c", g, corrected), shift)
            coded.append((g, left))
            decoded.append(coder.symbol(left))
        for (_, left), group in zip(coded, decoded, strict=True):
            sums = [t - (b - a) for t, a, b in zip(sums, left, left[1:], strict=False)]
            sums[group] += 2**24
        for (_, lane, place, window, inside), (g, _), group in zip(step, coded, decoded, strict=True):
            code = group if level.groups is None else _member(level, coder, g, group)
            known[number, lane, place] = found[window][inside] = code
            assert code < size
    return found


def _extents(run: int, grid: Place) -> Place:
    return (run, *grid) if len(grid) == 2 else (run * grid[0], *grid[1:])


def _member(level: Level, coder: Coder, g: Sequence[int], group: int) -> int:
    assert level.groups is not None
    codes = [code for code, own in enumerate(level.groups) if own == group]
    largest = max(level.groups.count(other) for other in set(level.groups))
    u = level.cut("u", level.layer("u", g, level.arrays["u.groups"][group]))
    outputs: list[int | None] = [
        sum(w * v for w, v in zip(level.arrays["d.weight"][code], u, strict=True))
        + level.arrays["d.bias"][code]
        for code in codes
    ]
    return codes[coder.symbol(model(outputs + [None] * (largest - len(codes)), level.arrays["d.shift"]))]
