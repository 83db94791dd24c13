"""Pictures of one kind of channels into a codec of another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.errors import DataError


def codec_values(values: NDArray[Any], channels: int, where: str) -> NDArray[np.float32]:
    """Values [.. C] of a segment as float32 [.. channels], as the codec takes them.

    A grey picture is replicated into a colour codec's channels.

    Args:
        values: in their layout.
        channels: channels of the codec; 1 also stands for channels that are coded one by one.
        where: the file, for the message.

    Raises:
        DataError: the file's channels don't fit the codec.
    """
    found = values.shape[-1]
    x = values.astype(np.float32)
    if found == channels:
        return x
    if found == 1:
        return np.repeat(x, channels, axis=-1)
    raise channel_mismatch(found, channels, where)


def native_values(values: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Decoded values [.. C] with as many channels as the file has: the inverse of `codec_values`."""
    return values if values.shape[-1] == channels else values.mean(axis=-1, keepdims=True, dtype=np.float32)


def channel_mismatch(found: int, wanted: int, where: str) -> DataError:
    """The error for a file whose channels don't fit."""
    if wanted == 1:
        how = "train with data.mode=rgb, or turn the file into a grey one"
    else:
        how = "leave it out with data.exclude, or use files with equal columns"
    return DataError(f"the file has {found} channels, the codec takes {wanted}", where=where, how=how)
