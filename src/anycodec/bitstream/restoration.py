"""RESTORATION parts of segments: what brings the values of a segment back within an error bound.

    plain    whole numbers on the grid of the bound, predicted from each other
    codec    the same, predicted from what the codec restored as well
    raw      the values as they are, where no grid holds them

A checksum of the whole numbers says for certain whether decoding found what was encoded. Networks restore
floats that differ in the last bits between machines, so their values are rounded to a coarser grid, and those
that came close to the border between two of its numbers are listed with the parity of theirs: any machine
whose floats differ by less than 2^-11 of that grid finds the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream import residual
from anycodec.bitstream.deflate import read_packed, write_packed
from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.frame import crc32c
from anycodec.bitstream.grid import Grid
from anycodec.bitstream.limits import LARGEST_GRID, LARGEST_SECTION, MOST_RESTORED
from anycodec.bitstream.network import Network
from anycodec.bitstream.signal_info import DTYPES
from anycodec.types import Axes

Integers = NDArray[np.int64]

PLAIN, CODEC, RAW = 0, 1, 2
PATHS = ("plain", "codec", "raw")
"""Names of the paths in their order."""
_NEAR = 2.0**-11
"""Values this close to a border, in steps of the coarse grid, are listed."""
_COARSEST = 40


class Mismatch(Damaged):
    """What was restored is not what was encoded: the networks' floats differ too much."""


def pack_plain(numbers: Integers, grid: Grid, axes: Axes) -> bytes:
    """Whole numbers by themselves, each from a line through its neighbours."""
    return _joined(PLAIN, _begin(grid, numbers), residual.encode(numbers, axes))


def pack_regression(numbers: Integers, grid: Grid) -> bytes:
    """Whole numbers [n C] of a series by themselves, each from those before and beside it."""
    return _joined(PLAIN, _begin(grid, numbers), residual.encode_regression(numbers))


def pack_wide(numbers: Integers, grid: Grid, network: int) -> bytes:
    """Whole numbers [n 1] by themselves, by a network of the format: see `wide.NAMES`."""
    return _joined(PLAIN, _begin(grid, numbers), residual.encode_wide(numbers, network))


def pack_codec(numbers: Integers, grid: Grid, axes: Axes, places: NDArray[np.float64]) -> bytes:
    """Whole numbers by way of the codec.

    Args:
        numbers: k of the segment.
        grid: theirs.
        axes: layout of both.
        places: where the values that the codec restored lie on the grid.
    """
    fields = _begin(grid, numbers)
    off = float(np.median(np.abs(numbers - places))) if numbers.size else 0.0
    coarse = int(np.clip(math.log2(max(off, 1) / 4), 0, _COARSEST))
    fields.byte(coarse)
    scaled = _scaled(places, coarse)
    nearest = np.rint(scaled)
    listed = np.flatnonzero(np.abs(np.abs(scaled - nearest) - 0.5).reshape(-1) < _NEAR)
    _write_listed(fields, listed, nearest.reshape(-1)[listed].astype(np.int64) & 1)
    reference = nearest.astype(np.int64) << coarse
    return _joined(CODEC, fields, residual.encode(numbers, axes, reference))


def pack_raw(values: NDArray[Any]) -> bytes:
    """Values as they are."""
    fields = FieldWriter()
    fields.byte(DTYPES.index(values.dtype.name))
    planes = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    planes = planes.reshape(-1, 1).view(np.uint8).T
    write_packed(fields, planes.tobytes())
    return _joined(RAW, FieldWriter(), bytes(fields.data))


def path_of(data: bytes) -> int:
    """Path of a part.

    Raises:
        Damaged: not a part.
    """
    if not data or data[0] >= len(PATHS):
        raise Damaged("a restoration of an unknown path")
    return data[0]


def side_information(data: bytes) -> int:
    """Bytes of a part, b"" = none, that are grids, checksum and borders.

    Raises:
        Damaged: not a part.
    """
    if not data:
        return 0
    path_of(data)
    fields = FieldReader(data)
    fields.byte()
    fields.blob(LARGEST_SECTION, "side information")
    return fields.position


def unpack(
    data: bytes, axes: Axes, shape: Sequence[int], models: Mapping[int, Network],
    codec: NDArray[np.float64] | None = None,
) -> NDArray[Any]:  # fmt: skip
    """The values of a part.

    Args:
        data: the part.
        axes: layout of the segment.
        shape: shape of its values.
        models: networks of the file by number.
        codec: what the codec restored, of this shape, where `path_of` says so.

    Returns:
        Values within the bound: int64, float64 or, raw, of their own type.

    Raises:
        Damaged: not such a part.
        Mismatch: the codec restored other values than the encoder had.
    """
    path = path_of(data)
    fields = FieldReader(data)
    fields.byte()
    side = FieldReader(fields.blob(LARGEST_SECTION, "side information"))
    stream = fields.rest()
    if math.prod(shape) > MOST_RESTORED:
        raise Damaged(f"{math.prod(shape)} values are above the limit of {MOST_RESTORED}")
    if path == RAW:
        side.finish()
        return _raw(FieldReader(stream), shape)
    grid = Grid.read(side, shape[-1])
    checksum = side.raw(4)
    reference = None
    if path == CODEC:
        if codec is None:
            raise Damaged("a restoration by way of a codec without tokens")
        reference = _reference(side, grid.places_of(codec))
    side.finish()
    try:
        numbers = residual.decode(stream, axes, shape, reference, models)
    except Damaged as error:
        raise (Mismatch(_OTHER_FLOATS) if path == CODEC else error) from error
    if _checksum(numbers) != checksum:
        raise Mismatch(_OTHER_FLOATS) if path == CODEC else Damaged("restored values have another checksum")
    return grid.values(numbers)


_OTHER_FLOATS = (
    "the codec restores other values here than where the file was written, its bound would not hold"
)


def _begin(grid: Grid, numbers: Integers) -> FieldWriter:
    fields = FieldWriter()
    grid.write(fields)
    fields.raw(_checksum(numbers))
    return fields


def _joined(path: int, side: FieldWriter, stream: bytes) -> bytes:
    fields = FieldWriter()
    fields.byte(path)
    fields.blob(bytes(side.data))
    fields.raw(stream)
    return bytes(fields.data)


def _checksum(numbers: Integers) -> bytes:
    return crc32c(np.ascontiguousarray(numbers, "<i8").tobytes())


def _scaled(places: NDArray[np.float64], coarse: int) -> NDArray[np.float64]:
    known: NDArray[np.float64] = np.nan_to_num(places, nan=0.0, posinf=LARGEST_GRID, neginf=-LARGEST_GRID)
    return np.clip(known, -LARGEST_GRID, LARGEST_GRID) / 2.0**coarse


def _reference(fields: FieldReader, places: NDArray[np.float64]) -> Integers:
    """The numbers that the encoder had for what the codec restored."""
    coarse = fields.byte()
    if coarse > _COARSEST:
        raise Damaged("a coarse grid out of bounds")
    scaled = _scaled(places, coarse)
    nearest = np.rint(scaled)
    listed, parities = _read_listed(fields, places.size)
    flat, found = scaled.reshape(-1)[listed], nearest.reshape(-1)[listed]
    other = found + np.where(flat >= found, 1, -1)
    even = found.astype(np.int64) & 1 == parities
    nearest.reshape(-1)[listed] = np.where(even, found, other)
    return nearest.astype(np.int64) << coarse


def _write_listed(fields: FieldWriter, listed: Integers, parities: Integers) -> None:
    own = FieldWriter()
    for gap, parity in zip(np.diff(listed, prepend=0).tolist(), parities.tolist(), strict=True):
        own.uint(2 * gap + parity)
    fields.uint(len(listed))
    fields.uint(len(own.data))
    write_packed(fields, bytes(own.data))


def _read_listed(fields: FieldReader, n: int) -> tuple[Integers, Integers]:
    count = fields.uint(n, "number of borders")
    own = FieldReader(read_packed(fields, fields.uint(9 * count, "size of borders"), "borders"))
    steps = np.array([own.uint(2 * n + 1, "border") for _ in range(count)], np.int64)
    own.finish()
    listed = np.cumsum(steps >> 1)
    if count and listed[-1] >= n:
        raise Damaged("borders out of bounds")
    return listed, steps & 1


def _raw(fields: FieldReader, shape: Sequence[int]) -> NDArray[Any]:
    kind = fields.byte()
    if kind >= len(DTYPES):
        raise Damaged("raw values of an unknown type")
    dtype = np.dtype(DTYPES[kind])
    data = read_packed(fields, math.prod(shape) * dtype.itemsize, "raw values")
    fields.finish()
    planes = np.frombuffer(data, np.uint8).reshape(dtype.itemsize, -1)
    values = np.ascontiguousarray(planes.T).view(dtype.newbyteorder("<")).astype(dtype)
    return values.reshape(tuple(shape))
