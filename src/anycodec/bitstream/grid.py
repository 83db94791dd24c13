"""Values <-> whole numbers k on the grid of an error bound, a channel at a time.

    decimal    value = clip(offset + k (2 m + 1), lowest, highest) / 10^d   whole numbers are those of d = 0
    float      value = offset + k step, rounded to the narrowest float that holds the channel's values
    listed     value = the k-th of a list, see `listed`

Both are IEEE 754 arithmetic on numbers that the file holds, so that every machine restores the same.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.deflate import read_packed, write_packed
from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.limits import LARGEST_GRID, MOST_STATISTICS
from anycodec.bitstream.listed import MOST_TOGETHER, Listed

Integers = NDArray[np.int64]

MOST_DECIMALS = 15
_EXACT = 2.0**53
_FLOATS = (np.float16, np.float32, np.float64)
_DECIMAL, _LISTED = 0, 4
"""Kind of a channel: 0 decimal, 1 + i the i-th of the floats, 4 listed."""
_SHRINKS = (1 - 1e-9, 1 - 1e-6, 1 - 1e-3, 0.5)
"""Steps to try, in 2 E: rounding to a float can take its part of the bound."""
_LARGEST_WHOLE = 2**61
_PROBE = 1024


@dataclass(frozen=True, slots=True)
class Decimal:
    """A channel of decimal fractions with at most `places` places, m = `margin` of the last as the bound.

    `lowest` and `highest` are the extremes of the channel: a native type holds them, but what lies beyond?
    """

    offset: int
    margin: int
    places: int
    lowest: int = 0
    highest: int = 0

    @property
    def type(self) -> type[np.int64] | type[np.float64]:
        """Of the values that it restores."""
        return np.int64 if self.places == 0 else np.float64

    def numbers(self, values: NDArray[Any]) -> Integers:
        """k of these values."""
        whole = _whole(values, self.places) - self.offset
        return (whole + self.margin) // (2 * self.margin + 1)

    def values(self, numbers: Integers) -> NDArray[Any]:
        """The values of these k."""
        whole = self.offset + numbers * (2 * self.margin + 1)
        if self.margin:
            whole = np.clip(whole, self.lowest, self.highest)
        return whole if self.places == 0 else whole / 10.0**self.places

    def places_of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where values lie on the grid, not rounded."""
        return (values * 10.0**self.places - self.offset) / (2 * self.margin + 1)


@dataclass(frozen=True, slots=True)
class Float:
    """A channel of floats; `kind` is their narrowest type, see `_FLOATS`."""

    offset: float
    step: float
    kind: int

    def numbers(self, values: NDArray[Any]) -> Integers:
        """k of these values."""
        return np.rint(self.places_of(np.asarray(values, np.float64))).astype(np.int64)

    def values(self, numbers: Integers) -> NDArray[Any]:
        """The values of these k."""
        with np.errstate(over="ignore"):
            return (self.offset + numbers * self.step).astype(_FLOATS[self.kind]).astype(np.float64)

    def places_of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where values lie on the grid, not rounded."""
        with np.errstate(over="ignore", invalid="ignore"):
            return (values - self.offset) / self.step


Channel = Decimal | Float | Listed


def fit_channel(values: NDArray[Any], bound: float, unit: float = 1.0) -> Decimal | Float | None:
    """The coarsest grid that keeps every value of a channel within `bound`; None where there is none.

    Args:
        values: [n] integers, or floats without NaN.
        bound: E >= 0 in the unit of the values.
        unit: what a step of integers is worth in the unit of the bound.
    """
    places = _decimals(values)
    if places is None:
        return _fit_float(values.astype(np.float64), bound)
    margin = math.floor(min(bound / unit * 10.0**places * (1 + 1e-12), 2.0**39))
    return _fit_decimal(values, bound / unit, places, margin)


def _fit_decimal(values: NDArray[Any], bound: float, places: int, margin: int) -> Decimal | None:
    if not len(values):
        return Decimal(0, margin, places)
    if values.dtype.kind == "u" and int(values.max()) >= _LARGEST_WHOLE:
        return None
    whole = _whole(values, places)
    lowest, highest = int(whole.min()), int(whole.max())
    if max(-lowest, highest) >= _LARGEST_WHOLE:
        return None
    small = max(-lowest, highest) < LARGEST_GRID
    for smaller in (margin, max(0, margin - 1), margin // 2, 0):
        grid = Decimal(0 if small else lowest, smaller, places, lowest, highest)
        if not small and (highest - lowest) // (2 * smaller + 1) >= LARGEST_GRID:
            return None
        if np.abs(grid.values(grid.numbers(values)) - values.astype(grid.type)).max() <= bound:
            return grid
    return None


def _fit_float(values: NDArray[np.float64], bound: float) -> Float | None:
    kind = _narrowest(values)
    offset = float(values[0]) if len(values) else 0.0
    if bound == 0:
        return Float(offset, 1.0, kind) if (values == offset).all() else None
    for shrink in _SHRINKS:
        grid = Float(offset, 2 * bound * shrink, kind)
        if not 0 < grid.step < math.inf:
            return None
        places = np.abs(grid.places_of(values))
        if len(places) and not places.max() < LARGEST_GRID:
            return None
        if not len(values) or np.abs(grid.values(grid.numbers(values)) - values).max() <= bound:
            return grid
    return None


def _whole(values: NDArray[Any], places: int) -> Integers:
    return values.astype(np.int64) if values.dtype.kind in "iub" else _scaled(values, places).astype(np.int64)


def _scaled(values: NDArray[Any], places: int) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = np.rint(values.astype(np.float64) * 10.0**places)
    return scaled


def _decimals(values: NDArray[Any]) -> int | None:
    """Decimal places that all values have at most; None where they are other floats."""
    if values.dtype.kind in "iub":
        return 0
    exact = values.astype(np.float64)
    if not len(exact):
        return 0
    probe = exact[:: max(1, len(exact) // _PROBE)]
    return next(
        (
            places
            for places in range(MOST_DECIMALS + 1)
            if _is_decimal(probe, places) and _is_decimal(exact, places)
        ),
        None,
    )


def _is_decimal(values: NDArray[np.float64], places: int) -> bool:
    with np.errstate(over="ignore"):
        scaled = _scaled(values, places)
    if not np.abs(scaled).max() < _EXACT or (np.signbit(values) & (values == 0)).any():
        return False
    return bool((scaled / 10.0**places == values).all())


def _narrowest(values: NDArray[np.float64]) -> int:
    with np.errstate(over="ignore"):
        return next(kind for kind, one in enumerate(_FLOATS) if (values.astype(one) == values).all())


@dataclass(frozen=True, slots=True)
class Grid:
    """The grids of the channels of a segment, its last axis."""

    channels: tuple[Channel, ...]

    @classmethod
    def fit(cls, values: NDArray[Any], bounds: Sequence[float], unit: float = 1.0) -> Grid | None:
        """See `fit_channel`; None where one channel has no grid."""
        found: list[Channel] = []
        for channel, bound in enumerate(bounds):
            grid = fit_channel(values[..., channel].reshape(-1), bound, unit)
            if grid is None:
                return None
            found.append(grid)
        return cls(tuple(found))

    def numbers(self, values: NDArray[Any]) -> Integers:
        """k of values [.. C], of channels without lists."""
        parts = [_unlisted(grid).numbers(values[..., i]) for i, grid in enumerate(self.channels)]
        return np.stack(parts, axis=-1)

    def listed(self, numbers: Integers) -> tuple[Grid, Integers] | None:
        """The same values by lists where these may pay, and their k [.. C]; None where they can't."""
        channels, ranks, room = list(self.channels), numbers.copy(), MOST_TOGETHER
        for i, grid in enumerate(self.channels):
            if not isinstance(grid, Decimal) or grid.margin:
                continue
            whole = grid.offset + numbers[..., i]
            found = Listed.of(whole.reshape(-1), grid.places)
            if found is not None and len(found.whole) <= room:
                channels[i], ranks[..., i] = found, found.ranks(whole)
                room -= len(found.whole)
        return None if room == MOST_TOGETHER else (Grid(tuple(channels)), ranks)

    def values(self, numbers: Integers) -> NDArray[Any]:
        """Values of k [.. C]: int64 where all channels are whole numbers, else float64."""
        return np.stack([grid.values(numbers[..., i]) for i, grid in enumerate(self.channels)], axis=-1)

    def places_of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where values [.. C] lie on the grids, not rounded.

        Raises:
            Damaged: there is a list among them.
        """
        parts = [_unlisted(grid).places_of(values[..., i]) for i, grid in enumerate(self.channels)]
        return np.stack(parts, axis=-1)

    def write(self, fields: FieldWriter) -> None:
        own = FieldWriter()
        for grid in self.channels:
            if isinstance(grid, Float):
                own.byte(1 + grid.kind)
                own.raw(struct.pack("<dd", grid.offset, grid.step))
            elif isinstance(grid, Listed):
                own.byte(_LISTED)
                grid.write(own)
            else:
                own.byte(_DECIMAL)
                own.byte(grid.places)
                own.uint(grid.margin)
                own.sint(grid.offset)
                if grid.margin:
                    own.sint(grid.lowest)
                    own.uint(grid.highest - grid.lowest)
        fields.uint(len(own.data))
        write_packed(fields, bytes(own.data))

    @classmethod
    def read(cls, fields: FieldReader, channels: int) -> Grid:
        """Inverse of `write`.

        Raises:
            Damaged: not grids of so many channels.
        """
        size = fields.uint(MOST_STATISTICS, "size of the grids")
        own = FieldReader(read_packed(fields, size, "grids"))
        found = tuple(_read_channel(own) for _ in range(channels))
        own.finish()
        return cls(found)


def _unlisted(grid: Channel) -> Decimal | Float:
    """A grid on which any value has a place."""
    if isinstance(grid, Listed):
        raise Damaged("a list of numbers where a codec's values have to have places")
    return grid


def _read_channel(fields: FieldReader) -> Channel:
    kind = fields.byte()
    if kind == _LISTED:
        return Listed.read(fields, MOST_DECIMALS, _LARGEST_WHOLE)
    if kind == _DECIMAL:
        places, margin = fields.byte(), fields.uint(2**39, "bound in steps")
        offset = fields.sint(_LARGEST_WHOLE, "offset of a grid")
        if places > MOST_DECIMALS:
            raise Damaged(f"{places} decimal places")
        if not margin:
            return Decimal(offset, margin, places)
        lowest = fields.sint(_LARGEST_WHOLE, "lowest value")
        return Decimal(offset, margin, places, lowest, lowest + fields.uint(2 * _LARGEST_WHOLE - 1, "range"))
    if kind > len(_FLOATS):
        raise Damaged(f"unknown kind of grid {kind}")
    offset, step = struct.unpack("<dd", fields.raw(16))
    if not (math.isfinite(offset) and math.isfinite(step) and step > 0):
        raise Damaged("a grid out of bounds")
    return Float(offset, step, kind - 1)
