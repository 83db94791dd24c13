"""Parquet, by row groups."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv

from anycodec.errors import DataError
from anycodec.io.rows import Numbers, Rows, RowWriter, damage
from anycodec.io.values import cast

NULL, NAN, PLUS_INFINITY, MINUS_INFINITY = range(4)
"""Kinds of missing values."""
EXACT = 2**53
"""Integers beyond this don't fit a float64."""


class ParquetRows(Rows):
    """An open Parquet file. Holds one row group in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with damage(path, "Parquet"):
            self._file = pq.ParquetFile(path)
            schema, layout = self._file.schema_arrow, self._file.metadata
            sizes = [layout.row_group(i).num_rows for i in range(layout.num_row_groups)]
            self._firsts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
            self._group = lru_cache(maxsize=1)(self._read_group)
            self._types: list[pa.DataType] = list(schema.types)
            self.names = tuple(schema.names)
            self.n_rows = int(self._firsts[-1])
            self.numeric = tuple(i for i, kind in enumerate(self._types) if self._fits(i, kind))
        first = layout.row_group(0).column(0).compression if sizes and self.names else "SNAPPY"
        self._meta = {
            "schema": base64.b64encode(schema.serialize().to_pybytes()).decode(),
            "compression": "NONE" if first == "UNCOMPRESSED" else first,
        }

    def read(self, start: int, stop: int) -> list[pa.Array]:
        stop = max(start, min(stop, self.n_rows))
        parts = []
        with damage(self._path, "Parquet"):
            for number, first in enumerate(self._firsts[:-1].tolist()):
                low, high = max(start, first), min(stop, int(self._firsts[number + 1]))
                if low < high:
                    parts.append(self._group(number).slice(low - first, high - low))
            table = pa.concat_tables(parts) if parts else self._file.schema_arrow.empty_table()
            return [_one_array(column) for column in table.columns]

    def numbers(self, position: int, column: pa.Array) -> Numbers:
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False).copy()
        kinds = np.full(len(values), -1, np.int64)
        kinds[np.isnan(values)] = NAN
        kinds[np.isposinf(values)] = PLUS_INFINITY
        kinds[np.isneginf(values)] = MINUS_INFINITY
        kinds[column.is_null().to_numpy(zero_copy_only=False)] = NULL
        values[kinds >= 0] = np.nan
        return values, kinds

    def check(self, position: int) -> None:
        if position not in self.numeric:
            raise DataError(
                f"column {self.names[position]!r} is of type {self._types[position]}, which can't be coded "
                "(or holds integers beyond 2^53)",
                where=str(self._path),
                how="leave it out of data.columns: it is passed through untouched",
            )

    def dtype(self, position: int) -> str:
        return str(np.dtype(self._types[position].to_pandas_dtype()).name)

    def meta(self) -> dict[str, Any]:
        return self._meta

    def close(self) -> None:
        self._group.cache_clear()
        self._file.close()

    def _read_group(self, number: int) -> pa.Table:
        table = self._file.read_row_group(number)
        table.validate(full=True)
        return table

    def _fits(self, position: int, kind: pa.DataType) -> bool:
        """Whether a column is numeric, and exact as float64."""
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return False
        if not pa.types.is_integer(kind) or kind.bit_width < 64:
            return True
        for number in range(len(self._firsts) - 1):
            column = self._file.read_row_group(number, columns=[self.names[position]]).column(0)
            limits = pc.min_max(column).as_py()
            if limits["min"] is not None and (limits["min"] < -EXACT or limits["max"] > EXACT):
                return False
        return True


class ParquetWriter(RowWriter):
    """Writes rows with the schema of the original, metadata of pandas included."""

    most_rows = 2**20

    def __init__(self, path: Path, meta: Mapping[str, Any]) -> None:
        self._schema = _schema(meta)
        self._writer = pq.ParquetWriter(path, self._schema, compression=meta["compression"])

    def column(self, position: int, values: NDArray[np.float64], kinds: NDArray[np.int64]) -> pa.Array:
        kind = self.kind(position)
        present = np.where(kinds >= 0, 0.0, values)
        native = cast(present, np.dtype(kind.to_pandas_dtype()))
        if native.dtype.kind == "f":
            native = native.copy()
            for missing, value in ((NAN, np.nan), (PLUS_INFINITY, np.inf), (MINUS_INFINITY, -np.inf)):
                native[kinds == missing] = value
        return pa.array(native, kind, mask=kinds == NULL)

    def kind(self, position: int) -> pa.DataType:
        return self._schema.field(position).type

    def write(self, columns: Sequence[pa.Array]) -> None:
        self._writer.write_table(pa.Table.from_arrays(list(columns), schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class ParquetText(ParquetWriter):
    """Writes rows as CSV into memory; take them out as they come."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._schema = _schema(meta)
        self._buffer = io.BytesIO()
        self._header = True

    def write(self, columns: Sequence[pa.Array]) -> None:
        table = pa.Table.from_arrays(list(columns), schema=self._schema)
        options = csv.WriteOptions(include_header=self._header, quoting_style="needed")
        csv.write_csv(table, self._buffer, options)
        self._header = False

    def taken(self) -> str:
        """What was written since the last time."""
        content = self._buffer.getvalue().decode()
        self._buffer = io.BytesIO()
        return content

    def close(self) -> None:
        if self._header:
            self.write([pa.array([], kind) for kind in self._schema.types])


def column_types(meta: Mapping[str, Any]) -> list[pa.DataType]:
    """Type of each column of the file that `meta` describes."""
    types: list[pa.DataType] = list(_schema(meta).types)
    return types


def _schema(meta: Mapping[str, Any]) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(meta["schema"])))


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    merged = column.combine_chunks()
    return merged.chunk(0) if isinstance(merged, pa.ChunkedArray) else merged
