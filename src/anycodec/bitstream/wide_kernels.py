"""The loops of `wide`, sample by sample, compiled by numba. FORMAT.md (Wide network) is the specification.

Integers only, so that every machine finds the same. Nothing checks indices here: every one is masked, cut or
bounded by a loop, whatever the stream holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.dot_products import Narrow, Sums, layer
from anycodec.bitstream.range_kernels import (
    AT,
    LOWER,
    PRECISION,
    RANGE,
    Coder,
    Words,
    begin,
    flush,
    pointed,
    put,
    put_bits,
    take,
    take_bits,
)
from anycodec.jit import compiled

Ints = NDArray[np.int64]
Layers = tuple[Narrow, Sums, Narrow, Sums, Narrow, Sums]
Tables = tuple[Ints, Ints, Ints]
Room = tuple[Narrow, Sums, Narrow, Sums, Narrow, Sums]
Buffers = tuple[Ints, Ints, Narrow, Sums, Narrow, Sums, Narrow, Sums, Coder]

LAGS = 32
"""Samples before the first, all 0."""
LOGISTICS = 4
MOST_INPUT = 4095
"""Inputs and hidden values are cut to this, in units of 2^-8."""
SIDE = 512
BUCKETS = 2 * SIDE + 2
LONGEST_PLACE = 48
FARTHEST = 2**42
_FARTHEST_FEATURE = 2**24
_FARTHEST_MEAN = 2**14 - 1
_LARGEST_SCALE = 511
_CUT = 12 * 2**12 - 1

LEVEL, SPREAD, SHIFT, GAIN, SIZE = 0, 1, 2, 3, 4
"""Places of the settings."""


@compiled
def _cut(value: int, most: int) -> int:
    return min(max(value, -most), most)


@compiled
def start(state: Ints) -> None:
    """Running averages before the first sample."""
    state[0], state[1] = 0, 0
    state[2], state[3], state[4] = 39322, 39322, 65536


@compiled
def observe(state: Ints, x: Ints, t: int, gain: int) -> None:
    """Take sample t into the running averages."""
    state[0] += ((x[t] << 8) - state[0]) >> 5
    state[1] += ((x[t] << 8) - state[1]) >> 8
    step = abs(x[t] - x[t - 1]) * gain >> 16
    short = min(step, 256) << 8
    state[2] += (short - state[2]) >> 4
    state[3] += (short - state[3]) >> 7
    state[4] += ((min(step, MOST_INPUT) << 8) - state[4]) >> 9


@compiled
def features(x: Ints, t: int, state: Ints, settings: Ints, u: Narrow) -> None:
    """Inputs of the network for sample t."""
    last, gain = x[t - 1], settings[GAIN]
    for i in range(2, LAGS + 1):
        u[i - 2] = _cut((x[t - i] - last) * gain >> 16, MOST_INPUT)
    u[31] = _cut(last * gain >> 18, MOST_INPUT)
    u[32] = _cut(((state[0] >> 8) - last) * gain >> 16, MOST_INPUT)
    u[33] = _cut(((state[1] >> 8) - last) * gain >> 17, MOST_INPUT)
    for i in range(3):
        u[34 + i] = state[2 + i] >> 8
    u[37] = 4 * settings[LEVEL]
    u[38] = 4 * settings[SPREAD]


@compiled
def rectify(sums: Sums, h: Narrow) -> None:
    """Hidden values of sums."""
    for j in range(len(h)):
        h[j] = min(max(sums[j] >> 10, 0), MOST_INPUT)


@compiled
def forward(layers: Layers, room: Room) -> None:
    """The network: inputs, sums and values of each hidden layer, outputs."""
    u, first, g, second, h, out = room
    layer(u, layers[0], layers[1], first)
    rectify(first, g)
    layer(g, layers[2], layers[3], second)
    rectify(second, h)
    layer(h, layers[4], layers[5], out)


@compiled
def expect(out: Sums, settings: Ints, tables: Tables, mixture: Ints) -> int:
    """Mixture [3, LOGISTICS] of weights, means and inverse scales; how far the centre is from the last."""
    level, shift, size = settings[LEVEL], settings[SHIFT], settings[SIZE]
    top, total = 0, 0
    for j in range(1, LOGISTICS):
        if out[j] > out[top]:
            top = j
    for j in range(LOGISTICS):
        mixture[0, j] = tables[1][min((out[top] - out[j]) >> 13, 511)]
        total += mixture[0, j]
    rest = 4096
    for j in range(LOGISTICS):
        mixture[0, j] = (mixture[0, j] << 12) // total
        rest -= mixture[0, j]
        mixture[1, j] = (out[LOGISTICS + j] >> 8) * size >> 14
        index = (out[2 * LOGISTICS + j] >> 13) + 2 * level + 64 - 32 * shift
        mixture[2, j] = tables[0][min(max(index, 0), _LARGEST_SCALE)]
    mixture[0, top] += rest
    moved = int((mixture[1, top] + 8) >> 4)
    for j in range(LOGISTICS):
        mixture[1, j] = _cut((mixture[1, j] - 16 * moved) >> shift, _FARTHEST_MEAN)
    return moved


@compiled
def left(i: int, corner: int, mixture: Ints, sigmoid: Ints) -> int:
    """Probability, in 2^-24, of the buckets before i; `corner` is the edge before bucket SIDE + 1."""
    if i <= 0:
        return 0
    if i >= BUCKETS:
        return 1 << PRECISION
    edge = 16 * (i - SIDE - 1) + corner
    below = 0
    for j in range(LOGISTICS):
        z = _cut((edge - mixture[1, j]) * mixture[2, j] >> 8, _CUT) + 12 * 4096
        piece, rest = z >> 8, z & 255
        low = sigmoid[piece]
        below += mixture[0, j] * (low + ((sigmoid[piece + 1] - low) * rest >> 8))
    return (below * ((1 << PRECISION) - BUCKETS) >> 32) + i


@compiled
def encode(  # noqa: PLR0917
    values: Ints, x: Ints, layers: Layers, tables: Tables, settings: Ints, buffers: Buffers, words: Words
) -> int:
    """Code a series; how many words it takes.

    Args:
        values: [LAGS + n] less the base, LAGS zeros first.
        x: room for as many.
        layers: weights and bias of each, see `dot_products.layer`.
        tables: inverse scales, powers of two, sigmoid.
        settings: level, spread, shift, gain, size.
        buffers: room for averages, mixture, each layer's inputs and sums, and the coder.
        words: room for three a sample and one more.
    """
    shift, gain = settings[SHIFT], settings[GAIN]
    corner = (-16 * ((1 << shift) >> 1) - 8) >> shift
    state, mixture, u, first, g, second, h, out, coder = buffers
    coder[LOWER], coder[RANGE], coder[AT] = np.uint64(0), ~np.uint64(0), np.uint64(0)
    start(state)
    for t in range(LAGS, len(values)):
        features(x, t, state, settings, u)
        forward(layers, (u, first, g, second, h, out))
        moved = expect(out, settings, tables, mixture)
        off = values[t] - values[t - 1] - moved + ((1 << shift) >> 1)
        number = off >> shift
        bucket = min(max(number, -SIDE - 1), SIDE) + SIDE + 1
        below = left(bucket, corner, mixture, tables[2])
        put(words, coder, below, left(bucket + 1, corner, mixture, tables[2]) - below)
        if bucket == 0 or bucket == BUCKETS - 1:
            beyond = off - (SIDE << shift) if bucket else (-SIDE << shift) - 1 - off
            bits = 0
            while beyond + 1 >> bits:
                bits += 1
            put(words, coder, bits << (PRECISION - 6), 1 << (PRECISION - 6))
            put_bits(words, coder, beyond + 1, bits - 1)
        else:
            put_bits(words, coder, off, shift)
        x[t] = _cut(values[t], _FARTHEST_FEATURE)
        observe(state, x, t, gain)
    if len(values) > LAGS:
        flush(words, coder)
    return int(np.int64(coder[AT]))


@compiled
def decode(  # noqa: PLR0917
    values: Ints, x: Ints, layers: Layers, tables: Tables, settings: Ints, buffers: Buffers, words: Words
) -> bool:
    """Inverse of `encode`: fill `values`; whether the stream was sound."""
    shift, gain = settings[SHIFT], settings[GAIN]
    corner = (-16 * ((1 << shift) >> 1) - 8) >> shift
    state, mixture, u, first, g, second, h, out, coder = buffers
    begin(words, coder)
    start(state)
    for t in range(LAGS, len(values)):
        features(x, t, state, settings, u)
        forward(layers, (u, first, g, second, h, out))
        moved = expect(out, settings, tables, mixture)
        found = pointed(coder)
        if found >= 1 << PRECISION:
            return False
        bucket, after = 0, BUCKETS
        below, above = 0, 1 << PRECISION
        while after - bucket > 1:
            middle = (bucket + after) >> 1
            edge = left(middle, corner, mixture, tables[2])
            if edge <= found:
                bucket, below = middle, edge
            else:
                after, above = middle, edge
        if not take(words, coder, below, above - below):
            return False
        if bucket == 0 or bucket == BUCKETS - 1:
            bits = take_bits(words, coder, 6)
            if bits < 1 or bits > LONGEST_PLACE:
                return False
            low = take_bits(words, coder, bits - 1)
            if low < 0:
                return False
            beyond = (1 << (bits - 1)) + low - 1
            off = beyond + (SIDE << shift) if bucket else (-SIDE << shift) - 1 - beyond
        else:
            low = take_bits(words, coder, shift)
            if low < 0:
                return False
            off = ((bucket - SIDE - 1) << shift) + low
        values[t] = _cut(values[t - 1] + moved + off - ((1 << shift) >> 1), FARTHEST)
        x[t] = _cut(values[t], _FARTHEST_FEATURE)
        observe(state, x, t, gain)
    return int(np.int64(coder[AT])) > len(words) if len(values) > LAGS else len(words) == 0
