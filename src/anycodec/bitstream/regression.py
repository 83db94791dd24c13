"""Prediction of the columns of a series from their own past and from each other.

The weights are not stored: encoder and decoder learn them alike, from the values before, by recursive least
squares. `regression_kernels` does the work, FORMAT.md (Regression) says what it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.limits import LARGEST_SECTION
from anycodec.bitstream.wide import sigmoid

if TYPE_CHECKING:  # numba takes half a second
    from anycodec.bitstream.regression_kernels import State

Integers = NDArray[np.int64]

MOST_CHANNELS = 2**10
_OWN, _OTHERS, _CONTEXTS, _LOGISTICS = 8, 6, 6, 4
_LARGEST_SHIFT = 40
_UNITS = 32
"""Buckets are as wide as the mean step of a channel by this, or one."""


def encode(fields: FieldWriter, values: Integers) -> None:
    """Append the coded values [n C], less their bases; up to `MOST_CHANNELS` channels."""
    from anycodec.bitstream import regression_kernels

    shifts = np.array([_shift(column) for column in values.T], np.int64)
    padded = np.concatenate([np.zeros((_OWN, values.shape[1]), np.int64), values])
    words = np.empty(3 * values.size + 1, np.uint32)
    coder = np.zeros(4, np.uint64)
    used = regression_kernels.encode(padded, shifts, _state(values.shape[1]), sigmoid(), coder, words)
    fields.raw(bytes(shifts.tolist()))
    fields.blob(words[:used].astype("<u4").tobytes())


def decode(fields: FieldReader, shape: tuple[int, int]) -> Integers:
    """The values [n C], less their bases.

    Raises:
        Damaged: not what `encode` writes.
    """
    from anycodec.bitstream import regression_kernels

    n, channels = shape
    if channels > MOST_CHANNELS:
        raise Damaged(f"a regression of {channels} channels")
    shifts = np.frombuffer(fields.raw(channels), np.uint8).astype(np.int64)
    body = fields.blob(LARGEST_SECTION, "residual")
    if shifts.max(initial=0) > _LARGEST_SHIFT or len(body) % 4:
        raise Damaged("a regression out of bounds")
    padded = np.zeros((_OWN + n, channels), np.int64)
    words = np.frombuffer(body, "<u4").astype(np.uint32)
    coder = np.zeros(4, np.uint64)
    if not regression_kernels.decode(padded, shifts, _state(channels), sigmoid(), coder, words):
        raise Damaged("a residual that no encoder writes")
    return padded[_OWN:]


def _shift(column: Integers) -> int:
    """log2 of a bucket in grid steps."""
    step = float(np.abs(np.diff(column)).mean()) if len(column) > 1 else 0.0
    return min(_LARGEST_SHIFT, max(0, int(math.log2(max(step, 1.0) / _UNITS))))


def _state(channels: int) -> State:
    """Weights, covariances, inputs, gains, running errors, shares of the logistics, a mixture, its parts."""
    inputs = _OWN + 2 * min(_OTHERS, max(channels - 1, 0)) + 1
    return (
        np.zeros((channels, inputs)),
        np.zeros((channels, inputs, inputs)),
        np.zeros(inputs),
        np.zeros(inputs),
        np.full((channels, 2), 2**12, np.int64),
        np.full((channels, _CONTEXTS, _LOGISTICS), 2**14, np.int64),
        np.zeros((2, _LOGISTICS), np.int64),
        np.zeros((2, _LOGISTICS), np.int64),
    )
