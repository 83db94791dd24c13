"""Raw DEFLATE (RFC 1951) with a bound on what it may expand to."""

from __future__ import annotations

import zlib

from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter

_RAW = -15
"""No zlib header and checksum: sections have their own; the largest window."""
_MEMORY = 9
"""zlib's largest."""
STORED, DEFLATED = 0, 1


def deflate(data: bytes, dictionary: bytes = b"") -> bytes:
    """Compress; matches may reach into the last 32 KiB of `dictionary`."""
    arguments = (zlib.Z_BEST_COMPRESSION, zlib.DEFLATED, _RAW, _MEMORY, zlib.Z_DEFAULT_STRATEGY)
    packer = zlib.compressobj(*arguments, dictionary) if dictionary else zlib.compressobj(*arguments)
    return packer.compress(data) + packer.flush()


def inflate(data: bytes, size: int, dictionary: bytes = b"") -> bytes:
    """Inverse of `deflate`, to exactly `size` bytes.

    Raises:
        Damaged: not DEFLATE, or of another size.
    """
    unpacker = zlib.decompressobj(_RAW, zdict=dictionary) if dictionary else zlib.decompressobj(_RAW)
    try:
        plain = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise Damaged(f"not DEFLATE data ({error})") from error
    if len(plain) != size or not unpacker.eof or unpacker.unused_data:
        raise Damaged(f"DEFLATE data that does not expand to {size} bytes")
    return plain


def write_packed(fields: FieldWriter, data: bytes) -> None:
    """Bytes of a known number, stored or deflated, whichever is smaller."""
    packed = deflate(data)
    shorter = len(packed) < len(data)
    fields.byte(DEFLATED if shorter else STORED)
    fields.blob(packed if shorter else data)


def read_packed(fields: FieldReader, size: int, name: str) -> bytes:
    """Inverse of `write_packed`.

    Raises:
        Damaged: not `size` bytes.
    """
    method = fields.byte()
    data = fields.blob(size, name)
    if method == DEFLATED:
        return inflate(data, size)
    if method != STORED:
        raise Damaged(f"{name} has unknown packing {method}")
    if len(data) != size:
        raise Damaged(f"{name} has {len(data)} bytes, not {size}")
    return data
