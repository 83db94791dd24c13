"""The header of an `.acz` file: where it is from and which codec made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anycodec.bitstream import entropy, jsons
from anycodec.bitstream.deflate import deflate, inflate
from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.limits import LARGEST_CODEBOOK, LARGEST_JSON, MOST_LEVELS
from anycodec.types import FileInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a reader must know before the first segment.

    Attributes:
        program: name and version of the writer.
        source_name: name of the native file, without folders.
        file: what its io module needs to write it again; `file.path` is not stored, it reads as
            `source_name`.
        source: the data settings of the run (`type`, `window`, `normalizer`, ...), JSON-serialisable.
        codec: `fingerprint`, and hints for people: `run`, `name`, `type`, `quantizer`, `engine`.
        codebook_sizes: number of codes a level.
        coder: name of the entropy coder.
    """

    program: str
    source_name: str
    file: FileInfo
    source: Mapping[str, Any]
    codec: Mapping[str, Any]
    codebook_sizes: tuple[int, ...]
    coder: str = field(default=entropy.NAME)


def pack_header(header: Header) -> bytes:
    """Payload of the HEADER section."""
    file = header.file
    text = jsons.dump(
        {
            "program": header.program,
            "source_name": header.source_name,
            "file": {"format": file.format, "n_signals": file.n_signals, "meta": file.meta},
            "source": header.source,
            "codec": header.codec,
            "codebook_sizes": header.codebook_sizes,
            "coder": header.coder,
        }
    )
    fields = FieldWriter()
    fields.uint(len(text))
    fields.raw(deflate(text))
    return bytes(fields.data)


def unpack_header(payload: bytes) -> Header:
    """Inverse of `pack_header`; unknown entries are passed over.

    Raises:
        Damaged: an entry is missing or not what it should be.
    """
    fields = FieldReader(payload)
    size = fields.uint(LARGEST_JSON, "size of the header")
    document = jsons.load(inflate(fields.rest(), size))
    file = jsons.get(document, "file", dict)
    name = jsons.get(document, "source_name", str)
    sizes = jsons.get_extents(document, "codebook_sizes")
    if not 1 <= len(sizes) <= MOST_LEVELS or not all(2 <= size <= LARGEST_CODEBOOK for size in sizes):
        raise Damaged(f"codebook sizes {list(sizes[:8])} are out of bounds")
    coder = jsons.get(document, "coder", str)
    if coder != entropy.NAME:
        raise Damaged(f"unknown entropy coder {coder!r}; a newer anycodec may read it")
    return Header(
        program=jsons.get(document, "program", str),
        source_name=name,
        file=FileInfo(
            path=name,
            format=jsons.get(file, "format", str),
            n_signals=jsons.get(file, "n_signals", int),
            meta=jsons.get(file, "meta", dict),
        ),
        source=jsons.get(document, "source", dict),
        codec=jsons.get(document, "codec", dict),
        codebook_sizes=sizes,
        coder=coder,
    )
