"""The loops of `regression`, value by value, compiled by numba. FORMAT.md (Regression) is the specification.

Predictions are sums, products and quotients of float64 in a fixed order, which IEEE 754 makes the same on
every machine; the rest are integers. Nothing checks indices here: every one is cut or bounded by a loop,
whatever the stream holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
from anycodec.bitstream.wide_kernels import BUCKETS, LOGISTICS, LONGEST_PLACE, SIDE, Ints
from anycodec.jit import compiled

Floats = NDArray[np.float64]
State = tuple[Floats, Floats, Floats, Floats, Ints, Ints, Ints, Ints]

OWN, OTHERS, CONTEXTS = 8, 6, 6
FORGETTING = 1 - 2.0**-13
FIRST_COVARIANCE = 2.0**-7
FARTHEST = 2**42
_FARTHEST_INPUT = 2.0**30
_FARTHEST_PREDICTION = 2.0**41
_LARGEST_COVARIANCE = 2.0**40
_LARGEST_ERROR = 2**24
_WIDTHS = np.array([6, 11, 20, 48], np.int64)
"""Scales of the logistics, in 16ths of the running error."""
_RATIOS = np.array([6, 9, 13, 18, 26], np.int64)
_CUT = 12 * 2**12 - 1
_FEWEST = 2**8


@compiled
def reset(covariance: Floats) -> None:
    """No input has been seen."""
    for i in range(len(covariance)):
        for j in range(len(covariance)):
            covariance[i, j] = FIRST_COVARIANCE if i == j else 0.0


@compiled
def restart(weights: Floats, covariance: Floats) -> None:
    """The channel is predicted by its last value."""
    weights[:] = 0.0
    weights[0] = 1.0
    reset(covariance)


@compiled
def inputs(values: Ints, t: int, c: int, x: Floats) -> None:
    """The last values of the channel, last step and value of those before it, and 1."""
    channels = values.shape[1]
    for i in range(OWN):
        x[i] = values[t - 1 - i, c]
    place = OWN
    for other in range(1, min(OTHERS, channels - 1) + 1):
        o = (c - other) % channels
        now = t if o < c else t - 1
        x[place] = values[now, o] - values[now - 1, o]
        x[place + 1] = values[t - 1, o]
        place += 2
    x[place] = 1.0
    for i in range(place + 1):
        x[i] = min(max(x[i], -_FARTHEST_INPUT), _FARTHEST_INPUT)


@compiled
def predict(weights: Floats, covariance: Floats, x: Floats) -> float:
    """Sum of weighted inputs, from the first to the last, within bounds."""
    total = 0.0
    for i in range(len(x)):
        total += weights[i] * x[i]
    if total >= -_FARTHEST_PREDICTION:
        return min(total, _FARTHEST_PREDICTION)
    if total < -_FARTHEST_PREDICTION:
        return -_FARTHEST_PREDICTION
    restart(weights, covariance)  # not a number
    return 0.0


@compiled
def learn(weights: Floats, covariance: Floats, x: Floats, gain: Floats, error: float) -> None:
    """Recursive least squares (Haykin, Adaptive Filter Theory, chapter 10) with exponential forgetting."""
    n = len(x)
    gain[:] = 0.0
    for j in range(n):
        for i in range(n):
            gain[i] += covariance[j, i] * x[j]
    energy = FORGETTING
    for i in range(n):
        energy += x[i] * gain[i]
    largest = 0.0
    if energy >= FORGETTING:
        for i in range(n):
            scaled = gain[i] / energy
            weights[i] += scaled * error
            for j in range(n):
                covariance[i, j] = (covariance[i, j] - scaled * gain[j]) / FORGETTING
            largest = max(largest, covariance[i, i])
    if not (energy >= FORGETTING and largest < _LARGEST_COVARIANCE):
        reset(covariance)


@compiled
def expect(errors: Ints, shares: Ints, mixture: Ints) -> int:
    """Weights and inverse scales [2, LOGISTICS] of a channel by its running errors; which context it is."""
    total = errors[0] + errors[1]
    ratio = (errors[0] << 4) // max(errors[1], 1)
    context = 0
    for threshold in _RATIOS:
        if ratio >= threshold:
            context += 1
    size, rest = 0, 4096
    for j in range(LOGISTICS):
        size += shares[context, j]
    for j in range(LOGISTICS):
        mixture[0, j] = (shares[context, j] << 12) // size
        rest -= mixture[0, j]
        mixture[1, j] = min((1 << 33) // max(total * _WIDTHS[j], 1), 1 << 20)
    mixture[0, 0] += rest
    return context


@compiled
def left(i: int, corner: int, mixture: Ints, sigmoid: Ints, parts: Ints) -> int:
    """Probability, in 2^-24, of the buckets before i, and in `parts` that of each logistic, in 2^-20."""
    edge = 16 * (i - SIDE - 1) + corner
    below = 0
    for j in range(LOGISTICS):
        z = min(max(edge * mixture[1, j] >> 8, -_CUT), _CUT) + 12 * 4096
        low = sigmoid[z >> 8]
        parts[j] = low + ((sigmoid[(z >> 8) + 1] - low) * (z & 255) >> 8)
        below += mixture[0, j] * parts[j]
    if i <= 0:
        parts[:] = 0
        return 0
    if i >= BUCKETS:
        parts[:] = 1 << 20
        return 1 << PRECISION
    return int((below * ((1 << PRECISION) - BUCKETS) >> 32) + i)


@compiled
def observe(  # noqa: PLR0917
    errors: Ints, shares: Ints, mixture: Ints, low: Ints, high: Ints, off: int
) -> None:
    """Learn from a coded value: how far it was off, in 16ths of a unit, and which logistics expected it."""
    size = min(abs(off), _LARGEST_ERROR) << 8
    errors[0] += (size - errors[0]) >> 3
    errors[1] += (size - errors[1]) >> 7
    total = 0
    for j in range(LOGISTICS):
        total += mixture[0, j] * (high[j] - low[j])
    if total > 0:
        for j in range(LOGISTICS):
            found = (mixture[0, j] * (high[j] - low[j]) << 16) // total
            shares[j] = max(shares[j] + ((found - shares[j]) >> 5), _FEWEST)


@compiled
def place(guess: float, shift: int) -> tuple[int, int, int]:
    """A prediction in 16ths of a step, the nearest step, and where the middle bucket begins from there."""
    y = int(np.floor(guess * 16.0 + 0.5))
    centre = (y + 8) >> 4
    return y, centre, ((-16 * ((1 << shift) >> 1) - 8) >> shift) - ((y - 16 * centre) >> shift)


@compiled
def encode(  # noqa: PLR0917
    values: Ints, shifts: Ints, state: State, sigmoid: Ints, coder: Coder, words: Words
) -> int:
    """Code values [OWN + n, C] less their bases, OWN rows of zeros first; how many words it takes."""
    weights, covariances, x, gain, errors, shares, mixture, parts = state
    coder[LOWER], coder[RANGE], coder[AT] = np.uint64(0), ~np.uint64(0), np.uint64(0)
    for c in range(values.shape[1]):
        restart(weights[c], covariances[c])
    for t in range(OWN, len(values)):
        for c in range(values.shape[1]):
            shift = shifts[c]
            inputs(values, t, c, x)
            guess = predict(weights[c], covariances[c], x)
            context = expect(errors[c], shares[c], mixture)
            y, centre, corner = place(guess, shift)
            off = values[t, c] - centre + ((1 << shift) >> 1)
            bucket = min(max(off >> shift, -SIDE - 1), SIDE) + SIDE + 1
            below = left(bucket, corner, mixture, sigmoid, parts[0])
            put(words, coder, below, left(bucket + 1, corner, mixture, sigmoid, parts[1]) - below)
            if bucket == 0 or bucket == BUCKETS - 1:
                beyond = off - (SIDE << shift) if bucket else (-SIDE << shift) - 1 - off
                bits = 0
                while beyond + 1 >> bits:
                    bits += 1
                put(words, coder, bits << (PRECISION - 6), 1 << (PRECISION - 6))
                put_bits(words, coder, beyond + 1, bits - 1)
            else:
                put_bits(words, coder, off, shift)
            observe(
                errors[c], shares[c, context], mixture, parts[0], parts[1], (16 * values[t, c] - y) >> shift
            )
            learn(weights[c], covariances[c], x, gain, values[t, c] - guess)
    if len(values) > OWN and values.shape[1]:
        flush(words, coder)
    return int(np.int64(coder[AT]))


@compiled
def decode(  # noqa: PLR0917
    values: Ints, shifts: Ints, state: State, sigmoid: Ints, coder: Coder, words: Words
) -> bool:
    """Inverse of `encode`: fill `values`; whether the stream was sound."""
    weights, covariances, x, gain, errors, shares, mixture, parts = state
    begin(words, coder)
    for c in range(values.shape[1]):
        restart(weights[c], covariances[c])
    for t in range(OWN, len(values)):
        for c in range(values.shape[1]):
            shift = shifts[c]
            inputs(values, t, c, x)
            guess = predict(weights[c], covariances[c], x)
            context = expect(errors[c], shares[c], mixture)
            y, centre, corner = place(guess, shift)
            found = pointed(coder)
            if found >= 1 << PRECISION:
                return False
            bucket, after = 0, BUCKETS
            while after - bucket > 1:
                middle = (bucket + after) >> 1
                if left(middle, corner, mixture, sigmoid, parts[0]) <= found:
                    bucket = middle
                else:
                    after = middle
            below = left(bucket, corner, mixture, sigmoid, parts[0])
            if not take(words, coder, below, left(after, corner, mixture, sigmoid, parts[1]) - below):
                return False
            if bucket == 0 or bucket == BUCKETS - 1:
                bits = take_bits(words, coder, 6)
                if bits < 1 or bits > LONGEST_PLACE:
                    return False
                low = take_bits(words, coder, bits - 1)
                beyond = (1 << (bits - 1)) + low - 1
                off = beyond + (SIDE << shift) if bucket else (-SIDE << shift) - 1 - beyond
            else:
                low = take_bits(words, coder, shift)
                off = ((bucket - SIDE - 1) << shift) + low
            if low < 0:
                return False
            value = centre + off - ((1 << shift) >> 1)
            values[t, c] = min(max(value, -FARTHEST), FARTHEST)
            observe(
                errors[c], shares[c, context], mixture, parts[0], parts[1], (16 * values[t, c] - y) >> shift
            )
            learn(weights[c], covariances[c], x, gain, values[t, c] - guess)
    return int(np.int64(coder[AT])) > len(words) if values.size > OWN * values.shape[1] else len(words) == 0
