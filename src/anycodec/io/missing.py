"""What kind of missing value stands where, in the segments of a table."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from anycodec.io.values import inflate
from anycodec.types import Signal


def pack_kinds(channel: int, kinds: NDArray[np.int64]) -> dict[str, bytes]:
    """Kinds of the missing values, where they are not all of the usual one (0), as an attachment."""
    found = kinds[kinds >= 0].astype(np.uint8)
    if not found.any():
        return {}
    uniform = (found == found[0]).all()
    return {
        f"missing.{channel}": found[:1].tobytes() if uniform else b"*" + zlib.compress(found.tobytes(), 9)
    }


def unpack_kinds(segment: Signal, channel: int) -> NDArray[np.int64]:
    """Kinds [T] of the missing values of a channel, -1 where there is a value."""
    kinds = np.full(segment.length, -1, np.int64)
    if segment.mask is None:
        return kinds
    missing = ~segment.mask[:, channel]
    packed = segment.attachments.get(f"missing.{channel}", b"\0")
    found = np.frombuffer(inflate(packed[1:], segment.length) if len(packed) > 1 else packed, np.uint8)
    kinds[missing] = found
    return kinds
