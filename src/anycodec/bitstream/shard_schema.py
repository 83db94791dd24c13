"""Token shards: Parquet files that hold the tokens of many signals, a row a segment.

| column | type | what |
|---|---|---|
| id | string | `SOURCE#SIGNAL@START`, unique in a token set |
| source | string | path of the native file below the folder that was tokenized, with `/` |
| signal | int64 | number of the signal in its file, from 0 |
| segment | int64 | number of the segment in its signal, from 0: long signals have several |
| start | int64 | first sample or frame of the segment in its signal |
| length | int64 | samples or frames of the segment, 1 for a picture |
| shape | list<int64> | shape of the segment's values: [T C], [H W C] or [T H W C] |
| label | string | class of the signal, null where there is none |
| windows | int64 | N: windows of the segment |
| tokens_0 ... | list<uint16> or list<uint32> | a level each: [N *g] in C order |
| shift, scale | list<list<float>> | statistics [N or 1, C]; null where the run or the type has them |
| mask | binary | bits, channels first, 0 where a value was missing; null = all present |
| attachments | list<struct<name, data>> | what the native file needs besides |
| info | string | JSON: the signal, in its first row; null in the others |
| file | string | JSON: the native file, in its first row; null in the others |

The schema's metadata has one entry `anycodec`: JSON of `ShardHeader`. Each file's own metadata has one more,
`anycodec.shard`: JSON of what the shard holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from anycodec.bitstream import jsons
from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.limits import LARGEST_CODEBOOK, MOST_AXES, MOST_LEVELS
from anycodec.bitstream.segment import SegmentData
from anycodec.types import FileInfo, SignalInfo

VERSION = 1
HEADER_KEY = b"anycodec"
RECORD_KEY = b"anycodec.shard"
SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardHeader:
    """What all shards of a token set have in common.

    Attributes:
        program: name and version of the writer.
        codebook_sizes: number of codes a level.
        grids: token grid *g of a window for each level; ``*g`` x stride = the window.
        strides: values along each spatial axis that a token of each level covers.
        codec: `fingerprint`, and hints for people: `run`, `name`, `type`, `quantizer`, `engine`.
        config: the resolved configuration of the run, without the places of its data.
    """

    program: str
    codebook_sizes: tuple[int, ...]
    grids: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    codec: Mapping[str, Any]
    config: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        return str(self.codec.get("fingerprint"))

    def same_codec(self, other: ShardHeader) -> bool:
        """Whether tokens mean the same; a newer program may have written the rest otherwise."""
        mine, theirs = ((header.fingerprint, header.codebook_sizes, header.grids) for header in (self, other))
        return mine == theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A segment in a shard.

    Attributes:
        source: path of the native file below the root, with `/`.
        file: describes the native file.
        signal: number of the signal in its file.
        info: describes the signal.
        segment: number of the segment in its signal.
        data: tokens and side information.
    """

    source: str
    file: FileInfo
    signal: int
    info: SignalInfo
    segment: int
    data: SegmentData

    @property
    def id(self) -> str:
        return f"{self.source}#{self.signal}@{self.data.start}"


def schema(header: ShardHeader) -> pa.Schema:
    """The Arrow schema of a token set."""
    statistics = pa.list_(pa.list_(pa.float32()))
    attachment = pa.struct([("name", pa.string()), ("data", pa.binary())])
    fields = [
        ("id", pa.string()),
        ("source", pa.string()),
        *((name, pa.int64()) for name in ("signal", "segment", "start", "length")),
        ("shape", pa.list_(pa.int64())),
        ("label", pa.string()),
        ("windows", pa.int64()),
        *((f"tokens_{level}", pa.list_(t)) for level, t in enumerate(map(arrow_type, header.codebook_sizes))),
        ("shift", statistics),
        ("scale", statistics),
        ("mask", pa.binary()),
        ("attachments", pa.list_(attachment)),
        ("info", pa.string()),
        ("file", pa.string()),
    ]
    return pa.schema(fields, metadata={HEADER_KEY: json.dumps(_to_json(header), sort_keys=True)})


def token_type(codes: int) -> type[np.uint16 | np.uint32]:
    """The smallest type that holds this many codes."""
    return np.uint16 if codes <= 2**16 else np.uint32


def arrow_type(codes: int) -> pa.DataType:
    """`token_type` in Arrow's terms."""
    return pa.from_numpy_dtype(token_type(codes))


def parse_header(found: pa.Schema) -> ShardHeader:
    """The header of a shard, whose columns must be those that it announces.

    Raises:
        Damaged: not a token shard, of another version, or an entry is not what it should be.
    """
    text = (found.metadata or {}).get(HEADER_KEY)
    if text is None:
        raise Damaged("a Parquet file, but not one of tokens: its schema has no entry `anycodec`")
    document = jsons.load(text)
    version = jsons.get(document, "version", int)
    if version != VERSION:
        raise Damaged(f"version {version} of token shards; this anycodec reads version {VERSION}")
    sizes = jsons.get_extents(document, "codebook_sizes")
    if not 1 <= len(sizes) <= MOST_LEVELS or not all(2 <= size <= LARGEST_CODEBOOK for size in sizes):
        raise Damaged(f"codebook sizes {list(sizes[:8])} are out of bounds")
    header = ShardHeader(
        program=jsons.get(document, "program", str),
        codebook_sizes=sizes,
        grids=_extents(document, "grids", len(sizes)),
        strides=_extents(document, "strides", len(sizes)),
        codec=jsons.get(document, "codec", dict),
        config=jsons.get(document, "config", dict),
    )
    if not schema(header).equals(found):
        raise Damaged("its columns are not those of a token shard")
    return header


def _to_json(header: ShardHeader) -> dict[str, Any]:
    names = ("program", "codebook_sizes", "grids", "strides", "codec", "config")
    return {"version": VERSION, **{name: getattr(header, name) for name in names}}


def _extents(document: jsons.Json, key: str, levels: int) -> tuple[tuple[int, ...], ...]:
    """Extents of each level: at least 1 along each axis."""
    found = jsons.get(document, key, list)
    if len(found) != levels:
        raise Damaged(f"`{key}` has {len(found)} levels, `codebook_sizes` {levels}")
    extents = tuple(jsons.get_extents({key: one}, key) for one in found)
    if any(len(one) > MOST_AXES or 0 in one for one in extents):
        raise Damaged(f"`{key}` is out of bounds")
    return extents
