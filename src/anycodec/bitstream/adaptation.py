"""Integer models for the range coder: weights of symbols, and the blocks after which they change.

constriction gets the weights left_{i+1} - left_i - 1, whose sum is exactly 2^24 - n for n symbols; its
own quantisation (scale 1, one slot added to each symbol) then reproduces `left` without any rounding.
"""

from __future__ import annotations

from collections.abc import Iterator

import constriction
import numpy as np
from numpy.typing import NDArray

PRECISION = 24
"""Bits of a quantised probability, as in constriction's default range coder (32-bit words, 64-bit state)."""
INCREMENT = 32
"""Weight of one coded symbol; the smallest weight of a symbol is 1."""
LARGEST_SUM = 2**28
"""Counts of a run are halved until their sum is below this."""

Symbols = NDArray[np.int64]


def categorical(weights: NDArray[np.int64]) -> constriction.stream.model.Categorical:
    """The quantised model of symbols with these weights f [n]: P(i) = (left_{i+1} - left_i) / 2^24,

    left_i = floor(F_i (2^24 - n) / F_n) + i with F_i = f_0 + .. + f_{i-1}.
    """
    cumulative = np.zeros(len(weights) + 1, np.int64)
    np.cumsum(weights, out=cumulative[1:])
    free = cumulative * (2**PRECISION - len(weights)) // cumulative[-1]
    return constriction.stream.model.Categorical(np.diff(free).astype(np.float64), perfect=False)


def bounded(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts halved, rounding up, until their sum is below 2^28."""
    while counts.sum(dtype=np.float64) >= LARGEST_SUM:
        counts = (counts + 1) >> 1
    return counts


def blocks(n: int, size: int) -> Iterator[tuple[int, int]]:
    """Borders of the blocks after which the model adapts: each as long as all before it, within bounds."""
    longest = max(4096, size // 4)
    start, length = 0, longest // 16
    while start < n:
        stop = min(n, start + length)
        yield start, stop
        length = min(longest, max(length, stop))
        start = stop
