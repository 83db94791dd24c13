"""Pictures of one kind of channels into a codec of another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.errors import DataError


def codec_values(values: NDArray[Any], channels: int, where: str) -> NDArray[np.float32]:
    """A picture's values [H W C] as float32 [H W channels], as the codec takes them.

    A grey picture is replicated into a colour codec's channels.

    Args:
        values: the picture.
        channels: channels of the codec.
        where: the file, for the message.

    Raises:
        DataError: the picture's channels don't fit the codec.
    """
    found = values.shape[-1]
    if found not in (1, channels):
        raise picture_mismatch(found, channels, where)
    x = values.astype(np.float32)
    return x if found == channels else np.repeat(x, channels, axis=-1)


def native_values(values: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Decoded values [H W C] with as many channels as the file has: the inverse of `codec_values`."""
    return values if values.shape[-1] == channels else values.mean(axis=-1, keepdims=True, dtype=np.float32)


def picture_mismatch(found: int, wanted: int, where: str) -> DataError:
    """The error for a picture whose channels don't fit the codec."""
    return DataError(
        f"the picture has {found} channels, the codec takes {wanted}",
        where=where,
        how="turn it into a grey picture, or train a codec with data.mode=rgb"
        if wanted == 1
        else "turn it into a grey or an RGB picture",
    )
