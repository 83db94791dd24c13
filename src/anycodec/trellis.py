"""The trellis of trellis-coded quantisation (Marcellin and Fischer 1990): which number may follow which.

Of the whole numbers v, those with v mod 2 = z0 are allowed in a state, and z1 = (v - z0) / 2 mod 2 says which
state follows. So half of all numbers have to be told apart, while a sequence can come as near to a signal as
if nearly all were there: at the same rate the error is about 1 dB smaller than by rounding.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_PARITY_CHECKS = {4: (0o5, 0o2), 8: (0o13, 0o4), 16: (0o23, 0o4), 32: (0o45, 0o10)}
"""h0, h1 of the one-dimensional codes of Ungerboeck (1982, table 1), by number of states."""
STATES = tuple(_PARITY_CHECKS)


@cache
def transitions(states: int) -> NDArray[np.int64]:
    """State that follows, [states 2]: by state and z1. The lowest bit of a state is its z0; 0 is the first.

    The systematic encoder with feedback of the code whose parity checks are h0 and h1, in observer form:

        z0 = r_1,   r_i' = r_(i+1) + h1_i z1 + h0_i z0   (mod 2; r_i is bit i - 1 of the state)

    Raises:
        ValueError: there is no such trellis.
    """
    if states not in _PARITY_CHECKS:
        raise ValueError(f"a trellis of {states} states: there are some of {STATES}")
    h0, h1 = _PARITY_CHECKS[states]
    state, z1 = np.ogrid[:states, :2]
    table: NDArray[np.int64] = (state >> 1) ^ (h0 >> 1) * (state & 1) ^ (h1 >> 1) * z1
    table.flags.writeable = False
    return table
