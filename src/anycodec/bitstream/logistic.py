"""Distributions of residuals: mixtures of logistics over buckets of integers, in integer arithmetic.

    P(residual < x) = sum_j w_j sigmoid((x - mu_j) / s_j),   sum_j w_j = 2^12

Small residuals have a bucket each; further out, buckets widen and the place within one is stored in plain
bits. Lengths are in sixteenths of 2^shift grid steps, scales in eighths of an octave of that. Two tables
replace exp and division, so that every machine finds the same probabilities. FORMAT.md says the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import constriction
import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.adaptation import PRECISION
from anycodec.bitstream.fields import Damaged

Integers = NDArray[np.int64]

WEIGHT_BITS = 12
LARGEST_SCALE = 96
"""Scale index: s = 2^(index / 8) / 16 units of 2^shift."""
LARGEST_SHIFT = 40
FARTHEST = 2**13 - 1
"""A mean is cut off here, in sixteenths of a unit."""

_RUNS = ((12, 1), (8, 2), (4, 4), (2, 8))
"""Buckets on each side of zero: how many, and how wide in units. Beyond them one that is open."""
_SIDE = [0, *np.cumsum([width for count, width in _RUNS for _ in range(count)]).tolist()]
BUCKETS = 2 * len(_SIDE) + 1
_TABLE = 1536
_SIGMOID = np.array(
    [round(2**16 / (1 + math.exp(-(i + 0.5) / 128))) for i in range(-_TABLE, _TABLE)], np.int32
)
"""sigmoid(z) * 2^16 at z = (i + 1/2) / 128, |z| <= 12."""
_INVERSE = np.array([round(2 ** (17 - i / 8)) for i in range(LARGEST_SCALE + 1)], np.int32)
_CHUNK = 2**13


@dataclass(frozen=True, slots=True)
class Mixture:
    """What is expected of n residuals.

    Attributes:
        centre: [n] predictions, in grid steps; a residual is value - centre.
        means: [n J] in sixteenths of a unit from there.
        scales: [n J] indices in 0..96.
        weights: [n J] with a sum of 2^12.
    """

    centre: Integers
    means: NDArray[np.int32]
    scales: NDArray[np.int32]
    weights: NDArray[np.int32]


class Buckets:
    """Residuals as bucket and place within it.

    Args:
        shift: log2 of a unit in grid steps, 0..40.
        reach: bits of a place in an open bucket, 0..48.
    """

    def __init__(self, shift: int, reach: int) -> None:
        unit = 1 << shift
        right = [place * unit + unit - (unit >> 1) for place in _SIDE]
        left = [-(place * unit) - (unit >> 1) for place in _SIDE]
        self._starts = np.array([left[-1] - (1 << reach), *left[::-1], *right], np.int64)
        self._edges = ((16 * self._starts[1:] - 8) >> shift).astype(np.int32)
        sizes = np.diff(np.append(self._starts, right[-1] + (1 << reach)))
        self.bits = np.array([int(size - 1).bit_length() for size in sizes], np.int64)
        """Plain bits of each bucket."""
        self.lowest, self.highest = int(self._starts[0]), int(right[-1] + (1 << reach) - 1)

    @classmethod
    def of(cls, residuals: Integers, shift: int) -> Buckets:
        """Buckets that hold all these residuals."""
        return cls(shift, reach_of(residuals, shift))

    def split(self, residuals: Integers) -> tuple[NDArray[np.int32], Integers]:
        """Bucket and place of each."""
        bucket = np.searchsorted(self._starts, residuals, side="right") - 1
        return bucket.astype(np.int32), residuals - self._starts[bucket]

    def join(self, bucket: NDArray[np.int32], place: Integers) -> Integers:
        """Inverse of `split`."""
        joined: Integers = self._starts[bucket] + place
        return joined

    def probabilities(self, mixture: Mixture) -> NDArray[np.float64]:
        """Weights [n BUCKETS] of the range coder: whole numbers with a sum of 2^24 - BUCKETS a row."""
        below = np.zeros((len(mixture.centre), BUCKETS - 1), np.int32)
        for j in range(mixture.means.shape[1]):
            inverse = _INVERSE[mixture.scales[:, j, None]]
            place = (self._edges - mixture.means[:, j, None]) * inverse >> 10
            np.clip(place, -_TABLE, _TABLE - 1, out=place)
            below += _SIGMOID[place + _TABLE] * mixture.weights[:, j, None]
        left = below.astype(np.int64) * (2**PRECISION - BUCKETS) >> (16 + WEIGHT_BITS)
        weights = np.empty((len(below), BUCKETS))
        weights[:, 0] = left[:, 0]
        weights[:, 1:-1] = np.diff(left, axis=1)
        weights[:, -1] = 2**PRECISION - BUCKETS - left[:, -1]
        return weights


def reach_of(residuals: Integers, shift: int) -> int:
    """Bits of a place in an open bucket that hold the farthest residual."""
    if not len(residuals):
        return 0
    unit = 1 << shift
    edge = _SIDE[-1] * unit
    beyond = max(int(residuals.max()) - edge, -int(residuals.min()) - edge, 0)
    return int(beyond).bit_length()


def model() -> constriction.stream.model.Categorical:
    """The family of models that takes `Buckets.probabilities`."""
    return constriction.stream.model.Categorical(perfect=False)


def chunks(n: int) -> Iterator[tuple[int, int]]:
    """Borders of stretches whose tables fit the cache."""
    for start in range(0, n, _CHUNK):
        yield start, min(n, start + _CHUNK)


class BitWriter:
    """Numbers of different widths, most significant bit first."""

    def __init__(self) -> None:
        self._parts: list[tuple[Integers, Integers]] = []

    def write(self, values: Integers, widths: Integers) -> None:
        """Append values; those of no width are passed over."""
        wide = widths > 0
        self._parts.append((values[wide], widths[wide]))

    def data(self) -> bytes:
        """All bits, filled up with zeros to whole bytes."""
        values = np.concatenate([part[0] for part in self._parts]) if self._parts else np.empty(0, np.int64)
        widths = np.concatenate([part[1] for part in self._parts]) if self._parts else np.empty(0, np.int64)
        ends = np.cumsum(widths)
        bits = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
        for place in range(int(widths.max(initial=0))):
            has = widths > place
            bits[ends[has] - 1 - place] = values[has] >> place & 1
        return np.packbits(bits).tobytes()


class BitReader:
    """Reads what `BitWriter` wrote.

    Raises:
        Damaged: by `read` and `finish`, too few or too many bits.
    """

    def __init__(self, data: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8))
        self._at = 0

    def read(self, widths: Integers) -> Integers:
        """The next numbers of these widths."""
        values = np.zeros(len(widths), np.int64)
        ends = self._at + np.cumsum(widths)
        if len(ends) and ends[-1] > len(self._bits):
            raise Damaged("a residual whose plain bits are missing")
        for place in range(int(widths.max(initial=0))):
            has = widths > place
            values[has] |= self._bits[ends[has] - 1 - place].astype(np.int64) << place
        self._at = int(ends[-1]) if len(ends) else self._at
        return values

    def finish(self) -> None:
        """Only the zeros that fill the last byte may be left."""
        rest = self._bits[self._at :]
        if len(rest) > 7 or rest.any():
            raise Damaged("a residual with superfluous plain bits")
