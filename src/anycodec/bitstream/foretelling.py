"""What the samples before say of the next one: the model and the coder of token streams on a trellis.

A sample v is a whole number of steps. Three linear predictors learn while they code, two by normalised LMS
over long memories and one by recursive least squares over a short one; each weighs as much as its errors are
small, and recent errors say how far off a sample will be:

    P(sample < x) = sum_j w_j sigmoid((x - mu) / s_j)

Sums of whole numbers are exact, in int64 or in float64. The least squares are float64 in a fixed order, each
operation rounded as IEEE 754 says and none fused. So every machine finds the same. FORMAT.md says it in full.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.range_kernels import (
    AT,
    LOWER,
    POINT,
    PRECISION,
    RANGE,
    Words,
    begin,
    flush,
    pointed,
    put,
    take,
)
from anycodec.jit import compiled, compiled_exact_sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ORDERS = (256, 24)
_LONGEST = ORDERS[0]
_LMS = len(ORDERS)
_STAGES = _LMS + 1
_GAINS = (round(0.002 * 2**36), round(0.0025 * 2**36))
_DAMPING = (16000, 1000)
"""Energy that a predictor's memory is taken to have beside its own, in squared steps."""
_UNIT = 256
"""Means and errors are in parts of a step."""
_ONE = 2.0**28
"""Of a weight of LMS."""
_FARTHEST_WEIGHT = 2.0**29
_MOST_GAIN = 2**36

SQUARES = 8
"""Order of the recursive least squares."""
_FORGETTING = 0.9995
_INVERSE_FORGETTING = 1 / _FORGETTING
_FARTHEST_MEAN = 2.0**17
_LARGEST_INVERSE = 2.0**20

_SPREADS = np.array([90, 179, 307, 640], np.int64)
"""Scales of the logistics, in 256ths of what recent errors say."""
_SHARES = len(_SPREADS)
_CONTEXTS = 8
_RATIOS = np.array([round(2**16 * 2 ** (i / 2)) for i in range(-3, 4)], np.int64)
"""Between contexts: recent errors by those of a longer time, in 2^-16."""
_LEAST_SCALE = 77
_TABLE = 1536
_SIGMOID = np.array([round(2**16 / (1 + math.exp(-(i + 0.5) / 128))) for i in range(-_TABLE, _TABLE)])
"""sigmoid(z) 2^16 at z = (i + 1/2) / 128."""
_FEWEST = 2**14
"""Least share of a logistic, in 2^-24."""

_FAST, _MIDDLE, _SLOW, _MEAN, _SCALE, _CONTEXT, _PLACE = range(7)
_TOP = 1 << PRECISION


class Model(NamedTuple):
    """What is known after some samples.

    Attributes:
        history: [256 + length] samples, after zeros.
        weights: [2 256] of LMS in 2^-28, the oldest sample first; the second uses the last 24.
        energies: [2] sums of squares of what LMS looks at.
        squares: [12] weights of the least squares, the last sample first.
        inverse: [12 12] inverse of the correlations.
        gain: [12] scratch.
        errors: [2 3] predictions and running errors, in parts of a step; errors in 2^-8 of those.
        shares: [8 4] of the logistics in each context, in 2^-24.
        slopes: [4] inverse scales of the logistics.
        low, high: [4] what lies below the edges of the sample, for each logistic, in 2^-16.
        state: [7] fast, middle and slow running errors; mean, scale and context; number of the sample.
    """

    history: Floats
    weights: Floats
    energies: Ints
    squares: Floats
    inverse: Floats
    gain: Floats
    errors: Ints
    shares: Ints
    slopes: Ints
    low: Ints
    high: Ints
    state: Ints


def new_model(length: int) -> Model:
    """A model that knows nothing yet of the `length` samples that will follow."""
    weights = np.zeros((_LMS, _LONGEST))
    weights[:, -1] = _ONE
    squares = np.zeros(SQUARES)
    squares[0] = 1.0
    errors = np.zeros((2, _STAGES), np.int64)
    errors[1] = 16 * _UNIT << 8
    state = np.zeros(7, np.int64)
    state[: _SLOW + 1] = 16 * _UNIT << 8
    return Model(
        history=np.zeros(_LONGEST + length),
        weights=weights,
        energies=np.zeros(_LMS, np.int64),
        squares=squares,
        inverse=np.eye(SQUARES),
        gain=np.zeros(SQUARES),
        errors=errors,
        shares=np.full((_CONTEXTS, _SHARES), 2**24 // _SHARES, np.int64),
        slopes=np.zeros(_SHARES, np.int64),
        low=np.zeros(_SHARES, np.int64),
        high=np.zeros(_SHARES, np.int64),
        state=state,
    )


# --- predictors -----------------------------------------------------------------------------------


@compiled_exact_sums
def _product(history: Floats, weights: Floats) -> float:
    total = 0.0
    for i in range(len(history)):
        total += history[i] * weights[i]
    return total


@compiled
def _learn(history: Floats, weights: Floats, gain: float) -> None:
    """weights += gain * history in 2^-16, to the nearest, and not too far."""
    for i in range(len(history)):
        moved = weights[i] + np.floor((gain * history[i] + 32768.0) * (1.0 / 65536.0))
        weights[i] = min(max(moved, -_FARTHEST_WEIGHT), _FARTHEST_WEIGHT)


@compiled
def _least_squares(model: Model, end: int) -> float:
    """The next sample by the least squares."""
    total = 0.0
    for i in range(SQUARES):
        total += model.squares[i] * model.history[end - 1 - i]
    return min(max(total, -_FARTHEST_MEAN), _FARTHEST_MEAN)


@compiled
def _learn_squares(model: Model, end: int, v: int) -> None:
    """One step of recursive least squares (Haykin, Adaptive Filter Theory, table 10.1)."""
    history, inverse, gain = model.history, model.inverse, model.gain
    total, spread = 0.0, _FORGETTING
    for i in range(SQUARES):
        total += model.squares[i] * history[end - 1 - i]
        gain[i] = 0.0
        for j in range(SQUARES):
            gain[i] += inverse[i, j] * history[end - 1 - j]
        spread += gain[i] * history[end - 1 - i]
    trace = 0.0
    for i in range(SQUARES):
        trace += inverse[i, i]
    if not (_FORGETTING / 2 < spread < 2.0**60 and trace < _LARGEST_INVERSE):
        inverse[:] = 0.0
        for i in range(SQUARES):
            inverse[i, i] = 1.0
            if not abs(model.squares[i]) < _FARTHEST_MEAN:
                model.squares[i] = 0.0
        return
    part = (float(v) - total) / spread
    for i in range(SQUARES):
        model.squares[i] += gain[i] * part
        for j in range(SQUARES):
            inverse[i, j] = (inverse[i, j] - gain[i] * gain[j] / spread) * _INVERSE_FORGETTING


# --- the distribution -----------------------------------------------------------------------------


@compiled
def _foretell(model: Model) -> None:
    """Mean, scale and context of the next sample, and the slopes of its logistics."""
    state, errors = model.state, model.errors
    end = _LONGEST + state[_PLACE]
    for k in range(_LMS):
        order = ORDERS[k]
        product = _product(model.history[end - order : end], model.weights[k, _LONGEST - order :])
        errors[0, k] = int(np.floor(product * (1.0 / 2**20)))
    errors[0, _LMS] = int(np.floor(_least_squares(model, end) * _UNIT))
    least = errors[1].min() + 1
    total = weighted = 0
    for k in range(_STAGES):
        trust = (least << 16) // (errors[1, k] + 1)
        cubed = (trust * trust >> 16) * trust >> 16
        sixth = cubed * cubed >> 16
        trust = (sixth * sixth >> 16) + 1
        total += trust
        weighted += trust * errors[0, k]
    state[_MEAN] = weighted // total
    state[_SCALE] = max((2 * state[_FAST] + 2 * state[_SLOW] + state[_MIDDLE]) * 33 >> 16, _LEAST_SCALE)
    recent, long = 3 * state[_FAST] + 2 * state[_MIDDLE], 5 * (state[_SLOW] + 1)
    context = 0
    for ratio in _RATIOS:
        context += recent << 16 >= long * ratio
    state[_CONTEXT] = context
    for j in range(_SHARES):
        model.slopes[j] = (128 << 28) // (state[_SCALE] * _SPREADS[j])


@compiled
def _left(model: Model, i: int, parity: int, size: int, parts: Ints) -> int:
    """Where the i-th number of a parity begins, of 2^24; what lies below for each logistic, into `parts`."""
    count = size >> 1
    edge = (2 * i + parity - count - 1) * _UNIT
    total, rest = 0, 65536
    for j in range(_SHARES - 1, -1, -1):
        place = (edge - model.state[_MEAN]) * model.slopes[j] >> 20
        parts[j] = _SIGMOID[min(max(place, -_TABLE), _TABLE - 1) + _TABLE]
        share = model.shares[model.state[_CONTEXT], j] >> 8 if j else rest
        rest -= share
        total += share * parts[j]
    if i <= 0:
        parts[:] = 0
        return 0
    if i >= count:
        parts[:] = 65536
        return _TOP
    return (total * (_TOP - count) >> 32) + i


@compiled
def _observe(model: Model, v: int) -> None:
    """Learn from sample v, whose edges `_left` has looked at."""
    state, errors, shares = model.state, model.errors, model.shares
    context = state[_CONTEXT]
    total = 0
    for j in range(_SHARES):
        total += (shares[context, j] >> 8) * (model.high[j] - model.low[j] + 1)
    rest = 2**24
    for j in range(_SHARES - 1, 0, -1):
        posterior = ((shares[context, j] >> 8) * (model.high[j] - model.low[j] + 1) << 24) // total
        shares[context, j] = max(shares[context, j] + (posterior - shares[context, j] >> 7), _FEWEST)
        rest -= shares[context, j]
    shares[context, 0] = max(rest, _FEWEST)

    actual = v * _UNIT
    off = abs(actual - state[_MEAN]) << 8
    state[_FAST] += (off - state[_FAST]) * 5 >> 6
    state[_MIDDLE] += (off - state[_MIDDLE]) * 9 >> 4
    state[_SLOW] += (off - state[_SLOW]) >> 7

    end = _LONGEST + state[_PLACE]
    for k in range(_STAGES):
        errors[1, k] += ((abs(actual - errors[0, k]) << 8) - errors[1, k]) >> 7
    for k in range(_LMS):
        order = ORDERS[k]
        gain = (actual - errors[0, k]) * _GAINS[k] // (model.energies[k] + _DAMPING[k])
        gain = min(max(gain, -_MOST_GAIN), _MOST_GAIN)
        _learn(model.history[end - order : end], model.weights[k, _LONGEST - order :], float(gain))
        gone = int(model.history[end - order])
        model.energies[k] += v * v - gone * gone
    _learn_squares(model, end, v)
    model.history[end] = v
    state[_PLACE] += 1


# --- tokens <-> words -----------------------------------------------------------------------------


@compiled
def on_trellis(tokens: Ints, window: int, following: Ints) -> bool:
    """Whether tokens [n] of windows of so many follow a trellis [states 2]."""
    at = 0
    for t in range(len(tokens)):
        if t % window == 0:
            at = 0
        if (tokens[t] ^ at) & 1:
            return False
        at = following[at, tokens[t] >> 1 & 1]
    return True


@compiled
def encode(tokens: Ints, window: int, following: Ints, size: int, model: Model) -> Words:
    """Words of tokens [n] on a trellis [states 2], of a codebook of `size`."""
    words = np.empty(len(tokens) + 4, np.uint32)
    coder = np.zeros(4, np.uint64)
    coder[RANGE] = ~np.uint64(0)
    at = 0
    for t in range(len(tokens)):
        if t % window == 0:
            at = 0
        i, parity = tokens[t] >> 1, at & 1
        _foretell(model)
        left = _left(model, i, parity, size, model.low)
        right = _left(model, i + 1, parity, size, model.high)
        put(words, coder, left, right - left)
        _observe(model, tokens[t] - (size >> 1))
        at = following[at, i & 1]
    if len(tokens):
        flush(words, coder)
    return words[: int(np.int64(coder[AT]))]


@compiled
def decode(words: Words, window: int, following: Ints, size: int, model: Model) -> tuple[Ints, bool]:
    """The tokens of words, as many as the model expects, and whether an encoder may have written these."""
    n = len(model.history) - _LONGEST
    tokens = np.zeros(n, np.int64)
    if n == 0:
        return tokens, len(words) == 0
    coder = np.zeros(4, np.uint64)
    begin(words, coder)
    at, half = 0, size >> 1
    for t in range(n):
        if t % window == 0:
            at = 0
        parity = at & 1
        _foretell(model)
        aim = pointed(coder)
        if aim >= _TOP:
            return tokens, False
        i = _search(model, aim, parity, size)
        left = _left(model, i, parity, size, model.low)
        right = _left(model, i + 1, parity, size, model.high)
        if not take(words, coder, left, right - left):
            return tokens, False
        tokens[t] = 2 * i + parity
        _observe(model, tokens[t] - half)
        at = following[at, i & 1]
    whole = coder[AT] == len(words) + 1 and coder[POINT] - coder[LOWER] < np.uint64(2**33 - 1)
    return tokens, bool(whole)


@compiled
def _search(model: Model, aim: int, parity: int, size: int) -> int:
    """The i with left_i <= aim < left_(i+1): outwards from the mean in steps that double, then by halves."""
    low, high, reach = 0, size >> 1, 1
    guess = ((model.state[_MEAN] >> 8) + high - parity) >> 1
    guess = min(max(guess, 0), high - 1)
    if _left(model, guess, parity, size, model.low) <= aim:
        low = guess
        while low + reach < high:
            if _left(model, low + reach, parity, size, model.low) > aim:
                high = low + reach
                break
            low += reach
            reach *= 2
    else:
        high = guess
        while high - reach > low:
            if _left(model, high - reach, parity, size, model.low) <= aim:
                low = high - reach
                break
            high -= reach
            reach *= 2
    while high - low > 1:
        middle = (low + high) >> 1
        if _left(model, middle, parity, size, model.low) <= aim:
            low = middle
        else:
            high = middle
    return low
