"""Read a token shard, which is hostile until it has been checked: memory holds one row group."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from anycodec.bitstream import jsons, limits
from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.header import file_from_json
from anycodec.bitstream.segment import SegmentData, values_shape
from anycodec.bitstream.shard_schema import RECORD_KEY, Row, ShardHeader, parse_header
from anycodec.bitstream.signal_info import signal_from_json
from anycodec.errors import FormatError
from anycodec.types import Affine, FileInfo, SignalInfo, Tokens

LARGEST_GROUP = 2**30
"""Bytes of a row group, and values of one of its columns, that are read."""
_LARGEST_FOOTER_STRING = 2**25
_MOST_FOOTER_ENTRIES = 2**22
_MEND = "copy the shard again from where it came from, or remove it and tokenize again"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the row before was."""

    source: str
    file: FileInfo
    signal: int
    info: SignalInfo
    segment: int
    end: int


class ShardReader:
    """An open shard. Use as a context manager.

    Attributes:
        header: see `ShardHeader`.
        record: what the writer noted of the shard.
        n_rows: rows that there are, as the footer says.

    Raises:
        FormatError: foreign, of another version, truncated or damaged; by every method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._blame("in the footer"):
            self._parquet = pq.ParquetFile(
                path,
                page_checksum_verification=True,
                thrift_string_size_limit=_LARGEST_FOOTER_STRING,
                thrift_container_size_limit=_MOST_FOOTER_ENTRIES,
            )
        try:
            with self._blame("in the footer"):
                self.header: ShardHeader = parse_header(self._parquet.schema_arrow)
                self.record: Mapping[str, Any] = self._read_record()
                self.n_rows: int = self._parquet.metadata.num_rows
                self._check_groups()
        except BaseException:
            self._parquet.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._parquet.close()

    def rows(self) -> Iterator[Row]:
        """All rows in order, checked: tokens below the size of their codebook, segments without gaps."""
        place: _Place | None = None
        number = 0
        for group in range(self._parquet.num_row_groups):
            with self._blame(f"in row group {group}"):
                table = self._parquet.read_row_group(group)
            for batch in table.to_batches():
                for index in range(len(batch)):
                    with self._blame(f"in row {number}"):
                        row, place = self._row(batch, index, place)
                    number += 1
                    yield row

    def counts(self) -> tuple[NDArray[np.int64], ...]:
        """How often each code occurs, [K] a level: reads the columns of tokens alone."""
        counts = tuple(np.zeros(size, np.int64) for size in self.header.codebook_sizes)
        names = [f"tokens_{level}" for level in range(len(counts))]
        for group in range(self._parquet.num_row_groups):
            with self._blame(f"in row group {group}"):
                table = self._parquet.read_row_group(group, columns=names)
                for level, name in enumerate(names):
                    for chunk in table.column(name).chunks:
                        flat = _plain(chunk.flatten(), name)
                        self._check_codes(flat, level)
                        counts[level][:] += np.bincount(flat, minlength=len(counts[level]))
        return counts

    def _row(self, batch: pa.RecordBatch, index: int, before: _Place | None) -> tuple[Row, _Place]:
        values = _Values(batch, index)
        source = _safe_source(values.text("source"))
        signal, segment, start, length, windows = (
            values.extent(name) for name in ("signal", "segment", "start", "length", "windows")
        )
        new_file = before is None or source != before.source
        expected = 0 if new_file or before is None else before.signal + (segment == 0)
        if windows == 0:
            raise Damaged("a segment without windows")
        if signal != expected:
            raise Damaged(f"signal {signal} of {source!r} where {expected} should follow")
        if new_file or before is None:
            file = file_from_json(jsons.load(values.binary("file")), PurePosixPath(source).name)
        else:
            file = before.file
        if new_file or before is None or segment == 0:
            info, at = signal_from_json(jsons.load(values.binary("info"))), (0, 0)
        else:
            info, at = before.info, (before.segment + 1, before.end)
        if (segment, start) != at:
            raise Damaged(f"segment {segment} from {start} where {at[0]} from {at[1]} should follow")
        data = SegmentData(
            start=start,
            length=length,
            tokens=self._tokens(values, windows),
            affine=_affine(values, windows),
            mask=_mask(values, values_shape(info, length)),
            attachments=_attachments(values),
        )
        row = Row(source=source, file=file, signal=signal, info=info, segment=segment, data=data)
        if values.text("id") != row.id or values.extents("shape") != values_shape(info, length):
            raise Damaged("its id or shape is not what its other columns say")
        return row, _Place(source, file, signal, info, segment, start + length)

    def _tokens(self, values: _Values, windows: int) -> Tokens:
        grids = []
        for level, grid in enumerate(self.header.grids):
            flat = values.numbers(f"tokens_{level}")
            if len(flat) != windows * math.prod(grid):
                raise Damaged(f"{len(flat)} tokens of level {level} for {windows} windows of {list(grid)}")
            self._check_codes(flat, level)
            grids.append(flat.astype(np.int64).reshape(windows, *grid))
        return Tokens(tuple(grids), self.header.codebook_sizes)

    def _check_codes(self, flat: NDArray[Any], level: int) -> None:
        size = self.header.codebook_sizes[level]
        if flat.size and int(flat.max()) >= size:
            raise Damaged(f"code {flat.max()} in level {level}, whose codebook has {size}")

    def _read_record(self) -> jsons.Json:
        text = (self._parquet.metadata.metadata or {}).get(RECORD_KEY)
        if text is None:
            raise Damaged("a Parquet file of tokens without the entry `anycodec.shard`")
        return jsons.load(text)

    def _check_groups(self) -> None:
        """Refuse what a reader would have to allocate too much for."""
        metadata = self._parquet.metadata
        for group in range(metadata.num_row_groups):
            found = metadata.row_group(group)
            columns = [found.column(index) for index in range(found.num_columns)]
            size = sum(column.total_uncompressed_size for column in columns)
            most = max(column.num_values for column in columns)
            if max(size, most, found.num_rows) > LARGEST_GROUP or min(size, found.num_rows) < 0:
                raise Damaged(f"row group {group} of {size} bytes and {most} values is above the limit")

    @contextmanager
    def _blame(self, what: str) -> Iterator[None]:
        """Say which file and which part of it is damaged."""
        where = str(self._path)
        try:
            yield
        except FileNotFoundError as error:
            raise FormatError("there is no such shard", where=where, how=_MEND) from error
        except (Damaged, pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise FormatError(f"damaged shard: {reason} ({what})", where=where, how=_MEND) from error


class _Values:
    """The columns of one row, by name."""

    def __init__(self, batch: pa.RecordBatch, index: int) -> None:
        self._batch = batch
        self._index = index

    def scalar(self, name: str) -> Any:
        return self._batch.column(name)[self._index]

    def extent(self, name: str) -> int:
        """An integer in 0..2^48."""
        value = self.scalar(name).as_py()
        if value is None or not 0 <= value <= limits.LARGEST_EXTENT:
            raise Damaged(f"{name} is {value}")
        return int(value)

    def extents(self, name: str) -> tuple[int, ...]:
        return jsons.get_extents({name: self.scalar(name).as_py()}, name)

    def text(self, name: str) -> str:
        return self.binary(name).decode()

    def binary(self, name: str) -> bytes:
        """Bytes, or text as UTF-8."""
        found = self.optional(name)
        if found is None:
            raise Damaged(f"{name} is missing")
        return found

    def optional(self, name: str) -> bytes | None:
        scalar = self.scalar(name)
        return scalar.as_buffer().to_pybytes() if scalar.is_valid else None

    def numbers(self, name: str) -> NDArray[Any]:
        """A list as an array."""
        scalar = self.scalar(name)
        if not scalar.is_valid:
            raise Damaged(f"{name} is missing")
        return _plain(scalar.values, name)


def _plain(values: pa.Array, name: str) -> NDArray[Any]:
    if values.null_count:
        raise Damaged(f"{name} has gaps")
    array: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return array


def _affine(values: _Values, windows: int) -> Affine | None:
    tables = [_table(values.scalar(name), name, windows) for name in ("shift", "scale")]
    shift, scale = tables
    if shift is None or scale is None:
        if shift is not scale:
            raise Damaged("a shift without a scale, or the other way round")
        return None
    if shift.shape != scale.shape or not np.isfinite([shift, scale]).all() or not (scale > 0).all():
        raise Damaged("statistics out of range")
    return Affine(shift, scale)


def _table(scalar: Any, name: str, windows: int) -> NDArray[np.float32] | None:
    """A list of lists of one length, a window each or one for all."""
    if not scalar.is_valid:
        return None
    rows = scalar.values
    if len(rows) not in (1, windows) or rows.null_count:
        raise Damaged(f"{name} of {len(rows)} rows for {windows} windows")
    flat = rows.flatten()
    if (
        flat.null_count
        or len(flat) % len(rows)
        or set(rows.value_lengths().to_pylist()) != {len(flat) // len(rows)}
    ):
        raise Damaged(f"{name} is not a table")
    return np.array(flat.to_numpy(zero_copy_only=False), np.float32).reshape(len(rows), -1)


def _mask(values: _Values, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    packed = values.optional("mask")
    if packed is None:
        return None
    count = math.prod(shape)
    if len(packed) != -(count // -8) or count > limits.MOST_MASKED:
        raise Damaged(f"a mask of {len(packed)} bytes for {count} values")
    planes = np.unpackbits(np.frombuffer(packed, np.uint8), count=count).astype(bool)
    return np.ascontiguousarray(np.moveaxis(planes.reshape(shape[-1], *shape[:-1]), 0, -1))


def _attachments(values: _Values) -> dict[str, bytes]:
    found = values.scalar("attachments").as_py()
    if found is None or any(one is None or None in one.values() for one in found):
        raise Damaged("attachments have gaps")
    attachments = {one["name"]: one["data"] for one in found}
    if len(attachments) < len(found):
        raise Damaged("two attachments of one name")
    return attachments


def _safe_source(source: str) -> str:
    """A relative path that stays inside its root."""
    path = PurePosixPath(source)
    if path.is_absolute() or not path.name or ".." in path.parts or str(path) != source or "\0" in source:
        raise Damaged(f"{source[:200]!r} is not a path below the root")
    return source
