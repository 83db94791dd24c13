"""The range coder of token streams, compiled by numba, for models that change with every symbol.

It writes and reads the words of constriction's `stream.queue` (32-bit words, 64-bit state, 24-bit
probabilities), see FORMAT.md (Token streams). A coder is an array of four numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anycodec.jit import compiled

Words = NDArray[np.uint32]
Coder = NDArray[np.uint64]

PRECISION = 24
_PIECE = 16
LOWER, RANGE, POINT, AT = 0, 1, 2, 3
"""Places of a coder's state; AT counts words."""
_ONE, _32, _24 = np.uint64(1), np.uint64(32), np.uint64(PRECISION)
_MASK = np.uint64(2**32 - 1)
_NARROW = np.uint64(2**32)


@compiled
def carry(words: Words, n: int) -> None:
    """Add one to the last of n words. It ends in the first one at the latest: intervals lie in the whole."""
    k = n - 1
    while k > 0 and words[k] == _MASK:
        words[k] = 0
        k -= 1
    words[k] += np.uint32(1)


@compiled
def put(words: Words, coder: Coder, below: int, width: int) -> None:
    """Encode an interval of 2^-24."""
    scale = coder[RANGE] >> _24
    lower = coder[LOWER] + scale * np.uint64(below)
    if lower < coder[LOWER]:
        carry(words, int(np.int64(coder[AT])))
    span = scale * np.uint64(width)
    if span < _NARROW:
        words[int(np.int64(coder[AT]))] = np.uint32(lower >> _32)
        coder[AT] += _ONE
        lower, span = lower << _32, span << _32
    coder[LOWER], coder[RANGE] = lower, span


@compiled
def put_bits(words: Words, coder: Coder, value: int, bits: int) -> None:
    """Encode plain bits, highest first."""
    while bits > 0:
        piece = min(bits, _PIECE)
        bits -= piece
        put(
            words,
            coder,
            ((value >> bits) & ((1 << piece) - 1)) << (PRECISION - piece),
            1 << (PRECISION - piece),
        )


@compiled
def flush(words: Words, coder: Coder) -> None:
    """The word that singles out the interval: it holds a multiple of 2^32."""
    last = coder[LOWER] + _MASK
    if last < coder[LOWER]:
        carry(words, int(np.int64(coder[AT])))
    words[int(np.int64(coder[AT]))] = np.uint32(last >> _32)
    coder[AT] += _ONE


@compiled
def begin(words: Words, coder: Coder) -> None:
    """State of a decoder; words beyond the last are 0."""
    coder[LOWER], coder[POINT] = np.uint64(0), np.uint64(0)
    coder[RANGE] = ~np.uint64(0)
    for i in range(2):
        coder[POINT] <<= _32
        if i < len(words):
            coder[POINT] |= np.uint64(words[i])
    coder[AT] = np.uint64(2)


@compiled
def pointed(coder: Coder) -> int:
    """Where in 0 .. 2^24 - 1 the stream points to; 2^24 where it is damaged."""
    found = (coder[POINT] - coder[LOWER]) // (coder[RANGE] >> _24)
    return int(np.int64(min(found, np.uint64(1 << PRECISION))))


@compiled
def take(words: Words, coder: Coder, below: int, width: int) -> bool:
    """Step over a decoded interval; whether the stream is long enough."""
    scale = coder[RANGE] >> _24
    coder[LOWER] += scale * np.uint64(below)
    coder[RANGE] = scale * np.uint64(width)
    if coder[RANGE] >= _NARROW:
        return True
    at = int(np.int64(coder[AT]))
    coder[LOWER], coder[RANGE] = coder[LOWER] << _32, coder[RANGE] << _32
    coder[POINT] <<= _32
    if at < len(words):
        coder[POINT] |= np.uint64(words[at])
    coder[AT] += _ONE
    return at <= len(words)


@compiled
def take_bits(words: Words, coder: Coder, bits: int) -> int:
    """Plain bits, highest first; -1 where the stream is damaged."""
    value = 0
    while bits > 0:
        piece = min(bits, _PIECE)
        bits -= piece
        found = pointed(coder)
        if found >= 1 << PRECISION:
            return -1
        found >>= PRECISION - piece
        value = value << piece | found
        if not take(words, coder, found << (PRECISION - piece), 1 << (PRECISION - piece)):
            return -1
    return value
