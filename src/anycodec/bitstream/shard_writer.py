"""Write a token shard, streaming: memory holds one row group."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from anycodec.atomic import atomic_path
from anycodec.bitstream import jsons, shard_schema
from anycodec.bitstream.header import file_to_json
from anycodec.bitstream.segment import values_shape
from anycodec.bitstream.shard_schema import RECORD_KEY, Row, ShardHeader
from anycodec.bitstream.signal_info import signal_to_json

ROWS_A_GROUP = 1000
BYTES_A_GROUP = 2**24
"""Most rows, and about as many bytes, of a row group: what writer and reader hold at a time."""


class ShardWriter:
    """Writes a shard, atomically: it appears when the context ends without an exception.

    The same rows give the same bytes.

    Args:
        path: the file to write.
        header: see `ShardHeader`.

    Attributes:
        groups: row groups written so far.
        record: JSON-serialisable; goes into the file's metadata at the end.
        sha256: of the file, once the context has ended.

    Raises:
        ResourceError: the disk is full.
    """

    def __init__(self, path: Path, header: ShardHeader) -> None:
        self._path = path
        self._header = header
        self._schema = shard_schema.schema(header)
        self._resources = ExitStack()
        self._temporary: Path
        self._file: BinaryIO
        self._parquet: pq.ParquetWriter
        self._rows: list[Row] = []
        self._bytes = 0
        self._described: tuple[str, int] | None = None
        self.groups = 0
        self.record: Mapping[str, Any] = {}
        self.sha256 = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._temporary = stack.enter_context(atomic_path(self._path))
            # a Python file: its errors say that the disk is full
            self._file = stack.enter_context(self._temporary.open("wb"))
            self._parquet = pq.ParquetWriter(
                self._file, self._schema, compression="zstd", write_page_checksum=True, write_statistics=False
            )
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if value is not None:
            self._parquet.is_open = False  # nothing more must be written
            self._resources.__exit__(kind, value, trace)
            return
        with self._resources:
            self._flush()
            self._parquet.add_key_value_metadata({RECORD_KEY: json.dumps(self.record, sort_keys=True)})
            self._parquet.close()
            self._file.flush()
            with self._temporary.open("rb") as file:
                self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()

    def add(self, row: Row) -> None:
        """Write the next row."""
        self._rows.append(row)
        self._bytes += _size(row)
        if len(self._rows) == ROWS_A_GROUP or self._bytes >= BYTES_A_GROUP:
            self._flush()

    def take_back(self, source: str) -> None:
        """Forget the last rows, those of `source`, of which no row group was written yet."""
        while self._rows and self._rows[-1].source == source:
            self._bytes -= _size(self._rows.pop())

    def _flush(self) -> None:
        if not self._rows:
            return
        self._parquet.write_batch(self._batch(), row_group_size=len(self._rows))
        last = self._rows[-1]
        self._described = last.source, last.signal
        self._rows, self._bytes = [], 0
        self.groups += 1

    def _batch(self) -> pa.RecordBatch:
        rows, sizes = self._rows, self._header.codebook_sizes
        shapes = [values_shape(row.info, row.data.length) for row in rows]
        affines = [row.data.affine for row in rows]
        columns = [
            [row.id for row in rows],
            [row.source for row in rows],
            [row.signal for row in rows],
            [row.segment for row in rows],
            [row.data.start for row in rows],
            [row.data.length for row in rows],
            shapes,
            [row.info.label for row in rows],
            [len(row.data.tokens) for row in rows],
            *(_tokens(rows, level, size) for level, size in enumerate(sizes)),
            _tables([None if affine is None else affine.shift for affine in affines]),
            _tables([None if affine is None else affine.scale for affine in affines]),
            [_bits(row.data.mask) for row in rows],
            [
                [{"name": name, "data": data} for name, data in row.data.attachments.items()]
                for row in rows
            ],
            *self._descriptions(),
        ]  # fmt: skip
        arrays = [
            column if isinstance(column, pa.Array) else pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        return pa.record_batch(arrays, schema=self._schema)

    def _descriptions(self) -> tuple[list[str | None], list[str | None]]:
        """The columns `info` and `file`: where signals and files begin."""
        infos: list[str | None] = []
        files: list[str | None] = []
        source, _ = signal = self._described or (None, None)
        for row in self._rows:
            known = (row.source, row.signal) == signal
            infos.append(None if known else jsons.dump(signal_to_json(row.info)).decode())
            files.append(None if row.source == source else jsons.dump(file_to_json(row.file)).decode())
            source, _ = signal = row.source, row.signal
        return infos, files


def _size(row: Row) -> int:
    """About the bytes that a row holds in memory."""
    data = row.data
    size = sum(grid.nbytes for grid in data.tokens.grids) + sum(map(len, data.attachments.values()))
    if data.affine is not None:
        size += data.affine.shift.nbytes + data.affine.scale.nbytes
    return size + (0 if data.mask is None else data.mask.nbytes)


def _tokens(rows: list[Row], level: int, codes: int) -> pa.Array:
    grids = [row.data.tokens.grids[level] for row in rows]
    flat = np.concatenate([grid.ravel() for grid in grids]).astype(shard_schema.token_type(codes))
    return pa.ListArray.from_arrays(_offsets([grid.size for grid in grids]), pa.array(flat))


def _tables(tables: list[NDArray[np.float32] | None]) -> pa.Array:
    """Matrices, or null, as lists of their rows."""
    present = [table for table in tables if table is not None]
    inner = [table.shape[1] for table in present for _ in range(len(table))]
    flat = np.concatenate([table.ravel() for table in present] or [np.zeros(0, np.float32)])
    lists = pa.ListArray.from_arrays(_offsets(inner), pa.array(flat, pa.float32()))
    outer = _offsets([0 if table is None else len(table) for table in tables])
    missing = pa.array([table is None for table in tables])
    return pa.ListArray.from_arrays(outer, lists, mask=missing)


def _offsets(sizes: list[int]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int32))


def _bits(mask: NDArray[np.bool_] | None) -> bytes | None:
    if mask is None or mask.all():
        return None
    return np.packbits(np.moveaxis(mask, -1, 0)).tobytes()
