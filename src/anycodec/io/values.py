"""Between native values and values without gaps: what tables and arrays share.

NaN and infinities are missing values. Gaps are filled with the value before them (at the start of a
block the one after, in a block without any value 0) and marked in the mask. Infinities are also
kept apart, in the attachment "infinite", so that they return as they were.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.errors import DataError

INFINITE = "infinite"
"""Name of the attachment: zlib of n int64 positions (row * C + channel, rising) and n int8 signs."""


def fill_gaps(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_] | None, dict[str, bytes]]:
    """Values [T C] without NaN and infinities, the mask (None = no gap) and the attachments."""
    if values.dtype.kind != "f":
        return values, None, {}
    mask = np.isfinite(values)
    if mask.all():
        return values, None, {}
    rows = np.where(mask, np.arange(len(values))[:, None], -1)
    before = np.maximum.accumulate(rows, axis=0)
    first = np.where(mask.any(axis=0), mask.argmax(axis=0), -1)
    source = np.where(before < 0, first, before)
    filled = np.take_along_axis(values, np.maximum(source, 0), axis=0)
    filled[source < 0] = 0
    return filled, mask, _pack_infinite(values)


def restore_gaps(
    values: NDArray[Any], mask: NDArray[np.bool_] | None, attachments: Mapping[str, bytes]
) -> NDArray[Any]:
    """The inverse of `fill_gaps`, on floats of any origin.

    Raises:
        DataError: the attachment doesn't fit the values.
    """
    if mask is None:
        return values
    restored = np.where(mask, values, np.nan).astype(values.dtype)
    packed = inflate(attachments.get(INFINITE, b""), restored.size * 9)
    count = len(packed) // 9
    positions = np.frombuffer(packed, np.int64, count)
    signs = np.frombuffer(packed, np.int8, count, offset=count * 8)
    if count and (positions.min() < 0 or positions.max() >= restored.size):
        raise DataError("the list of infinite values does not fit the values")
    restored.reshape(-1)[positions] = signs * np.array(np.inf, restored.dtype)
    return restored


def cast(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values of any type as the native one; integers are rounded and kept within their range."""
    if dtype.kind in "iu" and values.dtype.kind == "f":
        limits = np.iinfo(dtype)
        rounded = np.rint(values)
        with np.errstate(invalid="ignore"):  # float64 rounds the highest 64-bit integer up, out of range
            whole: NDArray[Any] = np.clip(rounded, limits.min, limits.max).astype(dtype)
        whole[rounded >= limits.max] = limits.max
        return whole
    if dtype.kind == "b":
        return np.asarray(values >= 0.5)
    return values.astype(dtype, copy=False)


def blocks(length: int, block: int) -> Iterator[tuple[int, int]]:
    """Borders of the segments of a signal; an empty signal has one empty segment."""
    for start in range(0, max(1, length), block):
        yield start, min(start + block, length)


def inflate(packed: bytes, most: int) -> bytes:
    """Decompress at most `most` bytes; b"" is b"".

    Raises:
        DataError: damaged, or more than that.
    """
    if not packed:
        return b""
    machine = zlib.decompressobj()
    try:
        content = machine.decompress(packed, most + 1)
    except zlib.error as error:
        raise DataError(f"a damaged attachment ({error})") from error
    if len(content) > most or not machine.eof:
        raise DataError("an attachment does not fit the values that it belongs to")
    return content


def _pack_infinite(values: NDArray[Any]) -> dict[str, bytes]:
    positions = np.flatnonzero(np.isinf(values))
    if not len(positions):
        return {}
    signs = np.sign(values.reshape(-1)[positions]).astype(np.int8)
    return {INFINITE: zlib.compress(positions.astype(np.int64).tobytes() + signs.tobytes())}
