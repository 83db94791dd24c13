"""Words of constriction's range coder <-> bytes of a stream."""

from __future__ import annotations

import constriction
import numpy as np

from anycodec.bitstream.fields import Damaged


def to_bytes(encoder: constriction.stream.queue.RangeEncoder) -> bytes:
    """What was coded, as little-endian 32-bit words."""
    words: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return words


def from_bytes(body: bytes) -> constriction.stream.queue.RangeDecoder:
    """A decoder of such bytes.

    Raises:
        Damaged: not whole words.
    """
    if len(body) % 4:
        raise Damaged("a token stream that is not made of 32-bit words")
    return constriction.stream.queue.RangeDecoder(np.frombuffer(body, "<u4").astype(np.uint32))


def finish(decoder: constriction.stream.queue.RangeDecoder) -> None:
    """Check that nothing is left.

    Raises:
        Damaged: superfluous words.
    """
    if not decoder.maybe_exhausted():
        raise Damaged("a token stream with superfluous words")
