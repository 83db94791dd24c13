"""The network of a prior for one level of tokens, in whole numbers: the same on every machine.

    x   = codes of the neighbours, one table a level, side by side
    h   = cut((A x + a + places) >> s_A, 0, 255),  g = cut((B h + b) >> s_B, 0, 255)
    o   = C g + c,  logarithms to base 2 of how likely each group is, in 2^-(5 + s_C)

and, where a group has several codes,

    u   = cut((U g + u_group) >> s_U, 0, 255),  o' = D_k . u + d_k  for the codes k of the group

All sums stay below 2^23, which float32 holds whatever the order of summing: a product of matrices by any
library is exact. FORMAT.md says the same in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.adaptation import PRECISION

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Arrays = Mapping[str, NDArray[Any]]

STEP = 5
"""Bits behind the point of a value between layers."""
LARGEST_CODE = 127
"""Of a table of codes; 255 of a hidden value."""
LARGEST_HIDDEN = 255
EXACT = 2**23
FINEST = 12
"""Bits behind the point of a weight, at most."""
WIDEST = 1024
MOST_NEIGHBOURS = 256
FARTHEST = 256
"""Offset of a neighbour."""
LARGEST_ALPHABET = 2**12
"""Groups, or codes of a group."""
MOST_MEMBERS = 2**20
"""Groups x codes of the largest one."""
_MOST_ADAPTED = 8
_POWER = np.array([round(2 ** (20 - i / 32)) for i in range(640)], np.float64)


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer in whole numbers.

    Attributes:
        weight: [outputs inputs].
        bias: [outputs].
        shift: bits behind the point of a weight.
    """

    weight: Floats
    bias: Floats
    shift: int

    @classmethod
    def quantised(cls, weight: Floats, bias: Floats, most: int, more: float = 0.0, *, cut: bool) -> Layer:
        """From real numbers, as fine as sums below 2^23 allow.

        Args:
            weight: [outputs inputs].
            bias: [outputs].
            most: largest input, in 2^-5.
            more: largest real number that is added.
            cut: whether what comes out is shifted down, which rounds: half a step is added.
        """
        for shift in range(FINEST, -1, -1):
            scaled = np.rint(weight.astype(np.float64) * 2**shift)
            offset = np.rint(bias.astype(np.float64) * 2 ** (shift + STEP))
            sums = np.abs(scaled).sum(axis=1) * most + np.abs(offset) + (more + 1) * 2 ** (shift + STEP)
            if np.abs(scaled).max(initial=0) < 2**15 and sums.max(initial=0) < EXACT:
                break
        else:
            raise ValueError("weights that are too large to be exact")
        half = 2 ** (shift - 1) if cut and shift else 0
        return cls(scaled.astype(np.float32), (offset + half).astype(np.float32), shift)

    def __call__(self, x: Floats) -> Floats:
        """[n inputs] -> sums [n outputs]."""
        sums: Floats = x @ self.weight.T
        sums += self.bias
        return sums

    def cut(self, sums: Floats) -> Floats:
        """sums >> shift, cut to 0..255; in place."""
        sums *= np.float32(2.0**-self.shift)
        np.floor(sums, out=sums)
        return np.clip(sums, 0, LARGEST_HIDDEN, out=sums)


@dataclass(frozen=True, slots=True)
class Members:
    """How the codes of a group are told apart.

    Attributes:
        table: [G M] codes of each group, ascending, K where it has fewer.
        hidden: U.
        groups: u_group [G V].
        weight: D [K + 1, V]; the last row is of no code.
        bias: d [K + 1].
        shift: s_D.
    """

    table: Integers
    hidden: Layer
    groups: Floats
    weight: Floats
    bias: Floats
    shift: int

    def outputs(self, g: Floats, groups: Integers) -> Floats:
        """o' [n M] for g [n D] and the groups [n]."""
        u = self.hidden.cut(self.hidden(g) + self.groups[groups])
        codes = self.table[groups]
        out: Floats = np.einsum("nmv,nv->nm", self.weight[codes], u) + self.bias[codes]
        return out


@dataclass(frozen=True, slots=True)
class LevelNetwork:
    """The network for the tokens of one level.

    Attributes:
        contexts: [J 1 + A] level and offset of each neighbour, by level.
        codes: tables [K + 1, E] by level, the last row of nothing.
        places: tables [extent or 1, width] for each axis of the token grid.
        a, b, c: the layers.
        groups: [K] of each code; None where each is its own.
        members: None where each code is its own group.
    """

    contexts: Integers
    codes: Mapping[int, Floats]
    places: tuple[Floats, ...]
    a: Layer
    b: Layer
    c: Layer
    groups: Integers | None = None
    members: Members | None = None

    def hidden(self, tokens: NDArray[np.int32], places: Integers) -> Floats:
        """g [n width].

        Args:
            tokens: of the neighbours [n J].
            places: within the window [n axes].
        """
        parts, first = [], 0
        for level, count in zip(*np.unique(self.contexts[:, 0], return_counts=True), strict=True):
            found = self.codes[int(level)][tokens[:, first : first + count]]
            parts.append(found.reshape(len(tokens), -1))
            first += count
        sums = self.a(np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0])
        for axis, table in enumerate(self.places):
            sums += table[places[:, axis] % len(table)]
        return self.b.cut(self.b(self.a.cut(sums)))

    def member_weights(self, g: Floats, groups: Integers) -> NDArray[np.float64]:
        """Of the range coder, [n M], given the groups [n]."""
        assert self.members is not None
        gone = self.members.table[groups] == len(self.members.bias) - 1
        return weights(self.members.outputs(g, groups), self.members.shift, gone)

    @property
    def size(self) -> int:
        """Codes K."""
        return len(self.c.bias) if self.groups is None else len(self.groups)


class Adapting:
    """What a stream tells of how often each group occurs: corrections of o after each step.

        t_j      += 2^24 (times group j occurred) - (sum of 2^24 P(j) over the tokens of the step)
        o_j      += t_j 2^(s - 19 - rate), rounded down and cut to +-2^(8 + s)

    which follows the gradient of the stream's bits a token, by 2^-rate.

    Args:
        layer: C.
        rate: 1 .. 16; 0 = as the network says.
    """

    def __init__(self, layer: Layer, rate: int) -> None:
        self._shift, self._rate = layer.shift, rate
        self._sums = np.zeros(len(layer.bias), np.float64)
        self._more = np.zeros(len(layer.bias), np.float32)

    def weights(self, outputs: Floats) -> NDArray[np.float64]:
        """Of the range coder, [n G], from o."""
        return weights(outputs + self._more, self._shift)

    def update(self, groups: Integers, found: NDArray[np.float64]) -> None:
        """Learn from the groups [n] of a step, which had these weights [n G]."""
        if not self._rate:
            return
        self._sums += np.bincount(groups, minlength=len(self._sums)) * 2.0**PRECISION
        self._sums -= found.sum(axis=0) + len(found)
        more = np.floor(self._sums * 2.0 ** (self._shift - PRECISION + STEP - self._rate))
        most = 2 ** (self._shift + _MOST_ADAPTED)
        self._more = np.clip(more, -most, most).astype(np.float32)


def weights(
    outputs: Floats, shift: int, gone: NDArray[np.bool_] | None = None, sharpness: float = 1.0
) -> NDArray[np.float64]:
    """Weights [n m] of the range coder, whole numbers with a sum of 2^24 - m a row, from o [n m].

    Args:
        outputs: o.
        shift: o >> shift is in 1/32 of a factor of 2.
        gone: what can't be.
        sharpness: exponent of the probabilities; for samples alone.
    """
    if gone is not None:
        outputs = np.where(gone, np.float32(-EXACT), outputs)
    below = (outputs.max(axis=1, keepdims=True) - outputs) * np.float32(sharpness * 2.0**-shift)
    parts = _POWER[np.minimum(below, len(_POWER) - 1).astype(np.int64)]
    if gone is not None:
        parts[gone] = 0
    m = outputs.shape[1]
    ends = np.cumsum(parts, axis=1)
    factor = ((2**PRECISION - m) * 2**24 // ends[:, -1].astype(np.int64)).astype(np.float64)
    ends *= factor[:, None]
    ends *= 2.0**-24
    np.floor(ends, out=ends)
    ends[:, -1] = 2**PRECISION - m
    ends[:, 1:] -= ends[:, :-1].copy()
    return ends


def member_table(groups: Integers) -> Integers:
    """[G M]: codes of each group, ascending, K where it has fewer."""
    sizes = np.bincount(groups)
    table = np.full((len(sizes), int(sizes.max())), len(groups), np.int64)
    order = np.argsort(groups, kind="stable")
    rank = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    table[groups[order], rank] = order
    return table


def quantised(real: Arrays, contexts: Integers, groups: Integers | None) -> LevelNetwork:
    """The network in whole numbers from the trained one in real numbers.

    Args:
        real: `codes.LEVEL`, `places.AXIS`, `a.weight`, `a.bias`, .., and with groups `u.weight`, `u.groups`,
            `d.weight`, `d.bias`.
        contexts: see `LevelNetwork`.
        groups: see `LevelNetwork`.

    Raises:
        ValueError: weights so large that sums would not be exact.
    """
    sources = np.unique(contexts[:, 0]).tolist()
    codes = {
        level: np.clip(np.rint(real[f"codes.{level}"] * 2**STEP), -LARGEST_CODE, LARGEST_CODE).astype(
            np.float32
        )
        for level in sources
    }
    tables = [real[name] for name in sorted(real) if name.startswith("places.")]
    more = float(sum(np.abs(table).max() for table in tables))
    a = Layer.quantised(real["a.weight"], real["a.bias"], LARGEST_CODE, more, cut=True)
    places = tuple(np.rint(table * 2.0 ** (a.shift + STEP)).astype(np.float32) for table in tables)
    b = Layer.quantised(real["b.weight"], real["b.bias"], LARGEST_HIDDEN, cut=True)
    c = Layer.quantised(real["c.weight"], real["c.bias"], LARGEST_HIDDEN, cut=False)
    members = None if groups is None else _quantised_members(real, groups)
    return LevelNetwork(contexts, codes, places, a, b, c, groups, members)


def _quantised_members(real: Arrays, groups: Integers) -> Members:
    more = float(np.abs(real["u.groups"]).max())
    none = np.zeros(len(real["u.weight"]), np.float32)
    hidden = Layer.quantised(real["u.weight"], none, LARGEST_HIDDEN, more, cut=True)
    d = Layer.quantised(real["d.weight"], real["d.bias"], LARGEST_HIDDEN, cut=False)
    return Members(
        table=member_table(groups),
        hidden=hidden,
        groups=np.rint(real["u.groups"] * 2.0 ** (hidden.shift + STEP)).astype(np.float32),
        weight=np.concatenate([d.weight, np.zeros((1, d.weight.shape[1]), np.float32)]),
        bias=np.append(d.bias, np.float32(0)),
        shift=d.shift,
    )


def check(network: LevelNetwork, sizes: Sequence[int], level: int, grid: Sequence[int]) -> None:
    """Refuse a network that can't be one of this level.

    Raises:
        ValueError: says what is wrong.
    """
    most = _check_inputs(network, sizes, level)
    width = len(network.a.bias)
    if len(network.places) != len(grid) or not all(
        table.shape in ((1, width), (extent, width))
        for table, extent in zip(network.places, grid, strict=True)
    ):
        raise ValueError("tables of places of other sizes")
    places = sum((np.abs(table).max(axis=0) for table in network.places), np.zeros(width))
    _check_layer(network.a, most, places)
    for layer, inputs in ((network.b, width), (network.c, len(network.b.bias))):
        if layer.weight.shape[1] != inputs:
            raise ValueError("layers that don't fit")
        _check_layer(layer, LARGEST_HIDDEN)
    if network.size != sizes[level] or len(network.c.bias) > LARGEST_ALPHABET:
        raise ValueError(f"{network.size} codes in {len(network.c.bias)} groups for {sizes[level]}")
    if network.members is not None:
        _check_members(network.members, len(network.c.bias), len(network.b.bias))


def _check_inputs(network: LevelNetwork, sizes: Sequence[int], level: int) -> int:
    """The largest input of A."""
    levels = network.contexts[:, 0]
    if not (np.diff(levels) >= 0).all() or levels.min() < 0 or levels.max() > level:
        raise ValueError("neighbours of levels that are not known yet")
    width = 0
    for source, count in zip(*np.unique(levels, return_counts=True), strict=True):
        table = network.codes[int(source)]
        if table.ndim != 2 or len(table) != sizes[source] + 1 or np.abs(table).max() > LARGEST_CODE:
            raise ValueError(f"a table of codes of shape {table.shape} for {sizes[source]}")
        width += int(count) * table.shape[1]
    if network.a.weight.shape[1] != width:
        raise ValueError("a first layer that does not fit its inputs")
    return LARGEST_CODE


def _check_layer(layer: Layer, most: int, more: NDArray[np.float64] | float = 0.0) -> None:
    outputs, inputs = layer.weight.shape
    if layer.bias.shape != (outputs,) or not 1 <= outputs <= LARGEST_ALPHABET or layer.shift > FINEST:
        raise ValueError(f"a layer of {inputs} inputs and {outputs} outputs, shifted by {layer.shift}")
    sums = np.abs(layer.weight.astype(np.float64)).sum(axis=1) * most + np.abs(layer.bias) + more
    if sums.max() >= EXACT:
        raise ValueError("a layer whose sums are too large")


def _check_members(members: Members, n_groups: int, width: int) -> None:
    table, hidden = members.table, members.hidden
    if len(table) != n_groups or table.shape[1] > LARGEST_ALPHABET:
        raise ValueError(f"{len(table)} groups of up to {table.shape[1]} codes")
    if hidden.weight.shape[1] != width or members.groups.shape != (n_groups, len(hidden.bias)):
        raise ValueError("layers of members that don't fit")
    _check_layer(hidden, LARGEST_HIDDEN, np.abs(members.groups).max(axis=0))
    sums = np.abs(members.weight).sum(axis=1, dtype=np.float64) * LARGEST_HIDDEN + np.abs(members.bias)
    if members.weight.shape[1] != len(hidden.bias) or members.shift > FINEST or sums.max() >= EXACT:
        raise ValueError("a layer of members that does not fit, or whose sums are too large")
