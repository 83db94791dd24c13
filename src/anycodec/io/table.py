"""Tables: CSV, TSV, Parquet <-> signals [T C] of float64, a channel a numeric column.

Wide: the file is one signal. Long (`series_id`): each series is one. All other columns pass through
untouched, as attachments of the segments. Missing values are filled and marked in the mask; whether
they were empty, NaN, infinite is kept in attachments.
"""

from __future__ import annotations

import base64
import difflib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anycodec.atomic import atomic_path
from anycodec.config.data import TableSource
from anycodec.errors import DataError
from anycodec.io.base import Format, Reader
from anycodec.io.columns import pack_column, unpack_column
from anycodec.io.csv_rows import CsvRows, CsvText, CsvWriter
from anycodec.io.discover import label_of
from anycodec.io.missing import pack_kinds, unpack_kinds
from anycodec.io.parquet_rows import ParquetRows, ParquetText, ParquetWriter, column_types
from anycodec.io.rows import Rows, RowWriter
from anycodec.io.values import blocks, fill_gaps, inflate
from anycodec.types import FileInfo, Meta, Signal, SignalInfo

SCAN_ROWS = 2**16
_PARQUET = (".parquet", ".pq")
_TIME_NAMES = {"date", "time", "datetime", "timestamp", "ds", "__index_level_0__"}
"""Numeric columns of these names are time, not channels."""
_INDEX_NAMES = {"", "Unnamed: 0"}
"""Names that pandas gives the index in a CSV, where it comes first."""


class TableFormat(Format[TableSource]):
    """CSV, TSV and Parquet."""

    name = "table"
    suffixes = (".csv", ".tsv", *_PARQUET)

    def open(self, path: Path, source: TableSource) -> TableReader:
        return TableReader(path, source)

    def write(self, path: Path, info: FileInfo, segments: Iterable[Signal]) -> None:
        kind = ParquetWriter if info.meta["kind"] == "parquet" else CsvWriter
        with atomic_path(path) as temporary, kind(temporary, info.meta["rows"]) as writer:
            stretches = (rows for segment in segments for rows in _native_rows(segment, info.meta, writer))
            if info.meta["order"] is None:
                for columns in stretches:
                    writer.write(columns)
            else:
                _write_reordered(list(stretches), info.meta["order"], writer)

    def join(self, file: FileInfo, more: FileInfo) -> FileInfo:
        if file.meta["order"] is not None or more.meta != file.meta:
            raise DataError(
                f"the rows of {more.path} can't follow those of {file.path}: other columns, or their numbers "
                "and gaps are written in another way",
                where=more.path,
                how="compress it into a file of its own",
            )
        return file if self.goes_on(file) else replace(file, n_signals=file.n_signals + more.n_signals)

    def goes_on(self, file: FileInfo) -> bool:
        return file.meta["series"] is None

    def part(self, info: FileInfo, lengths: Mapping[int, int]) -> FileInfo:
        """Series that were interleaved follow each other in a part of their table."""
        return replace(info, n_signals=len(lengths), meta={**info.meta, "order": None})

    def cut(self, signal: Signal, start: int, stop: int, info: FileInfo) -> Signal:
        found = super().cut(signal, start, stop, info)
        attachments: dict[str, bytes] = {}
        for channel in range(len(info.meta["channels"])):
            attachments |= pack_kinds(channel, unpack_kinds(signal, channel)[start:stop])
        types = column_types(info.meta["rows"]) if info.meta["kind"] == "parquet" else None
        for name in signal.attachments:
            if name.startswith("column."):
                kind = pa.string() if types is None else types[int(name.removeprefix("column."))]
                column = unpack_column(signal.attachments[name], kind, signal.length)
                attachments[name] = pack_column(column[start:stop])
        return replace(found, attachments=attachments)

    def native_type(self, info: SignalInfo) -> np.dtype[Any]:
        return np.dtype(np.float64)

    def text(self, info: FileInfo, segments: Iterable[Signal]) -> Iterator[str]:
        """A CSV file as it is; Parquet as CSV, all columns."""
        kind = ParquetText if info.meta["kind"] == "parquet" else CsvText
        with kind(info.meta["rows"]) as writer:
            for segment in segments:
                for columns in _native_rows(segment, info.meta, writer):
                    writer.write(columns)
                    yield writer.taken()
        yield writer.taken()

    def restored_name(self, original: str, info: FileInfo) -> str:
        return original


@dataclass(frozen=True, slots=True)
class _Series:
    """A signal of a table.

    Attributes:
        id: "" in a wide table.
        start: its first row.
        length: number of its rows.
        rows: which rows, None where they follow each other from `start`.
    """

    id: str
    start: int
    length: int
    rows: NDArray[np.int64] | None = None


class TableReader(Reader):
    """An open table."""

    def __init__(self, path: Path, source: TableSource) -> None:
        self._path, self._rate = path, source.sample_rate
        self._label = label_of(path, source.root)
        parquet = path.suffix.lower() in _PARQUET
        self._rows: Rows = ParquetRows(path) if parquet else CsvRows(path)
        try:
            self._series_column = _position(self._rows, source.series_id, "data.series_id", path)
            self._channels = _channels(self._rows, source, self._series_column, path)
            self._series, order = _split_series(self._rows, self._series_column)
        except BaseException:
            self._rows.close()
            raise
        self._whole: list[pa.Array] | None = None
        meta = {
            "kind": "parquet" if parquet else "csv",
            "n_columns": len(self._rows.names),
            "channels": self._channels,
            "series": self._series_column,
            "order": order,
            "rows": self._rows.meta(),
        }
        self.info = FileInfo(path=str(path), format="table", n_signals=len(self._series), meta=meta)

    def signals(self) -> Iterator[SignalInfo]:
        for series in self._series:
            yield self._describe(series)

    def segments(self, block: int) -> Iterator[Signal]:
        for series in self._series:
            info = self._describe(series)
            for start, stop in blocks(series.length, block):
                yield self._segment(series, info, start, stop)

    def fetch(self, index: int, start: int, stop: int) -> Signal:
        series = self._series[index]
        return self._segment(series, self._describe(series), start, min(stop, series.length))

    def close(self) -> None:
        self._whole = None
        self._rows.close()

    def _describe(self, series: _Series) -> SignalInfo:
        dtypes = [self._rows.dtype(position) for position in self._channels]
        return SignalInfo(
            id=series.id,
            axes="TC",
            shape=(series.length, len(self._channels)),
            dtype=dtypes[0] if len(set(dtypes)) == 1 else "float64",
            rate=self._rate,
            channels=tuple(self._rows.names[position] for position in self._channels),
            label=self._label,
        )

    def _segment(self, series: _Series, info: SignalInfo, start: int, stop: int) -> Signal:
        columns = self._columns(series, start, stop)
        values = np.empty((len(columns[0]), len(self._channels)))
        attachments: dict[str, bytes] = {}
        for channel, position in enumerate(self._channels):
            values[:, channel], kinds = self._rows.numbers(position, columns[position])
            attachments |= pack_kinds(channel, kinds)
        for position, column in enumerate(columns):
            if position not in self._channels and position != self._series_column:
                attachments[f"column.{position}"] = pack_column(column)
        filled, mask, _ = fill_gaps(values)
        return Signal(info=info, values=filled, start=start, mask=mask, attachments=attachments)

    def _columns(self, series: _Series, start: int, stop: int) -> list[pa.Array]:
        """All columns of a stretch of a series. Interleaved series need the whole table in memory."""
        if series.rows is None:
            return self._rows.read(series.start + start, series.start + stop)
        if self._whole is None:
            self._whole = self._rows.read(0, self._rows.n_rows)
        wanted = pa.array(series.rows[start:stop])
        return [column.take(wanted) for column in self._whole]


def _position(rows: Rows, name: str | None, key: str, path: Path) -> int | None:
    """Position of a column that a setting names."""
    if name is None:
        return None
    if name in rows.names:
        return rows.names.index(name)
    near = difflib.get_close_matches(name, rows.names, 1)
    raise DataError(
        f"{key} names a column {name!r} that the table lacks; it has {', '.join(rows.names)}",
        where=str(path),
        how=f"did you mean {near[0]!r}?" if near else f"correct {key}",
    )


def _channels(rows: Rows, source: TableSource, series: int | None, path: Path) -> list[int]:
    """Positions of the columns to code.

    Raises:
        DataError: a column is missing or not numeric, or there is none.
    """
    timestamp = _position(rows, source.timestamp, "data.timestamp", path)
    if source.columns is not None:
        wanted = [_position(rows, name, "data.columns", path) for name in source.columns]
        chosen = [position for position in wanted if position is not None]
    else:
        through = {timestamp, series} | _time_columns(rows)
        chosen = [position for position in rows.numeric if position not in through]
    for position in chosen:
        rows.check(position)
    if not chosen:
        raise DataError(
            f"the table has no numeric column to code; its columns: {', '.join(rows.names)}",
            where=str(path),
            how="check the delimiter and the decimal points (1.5, not 1,5)",
        )
    return chosen


def _time_columns(rows: Rows) -> set[int]:
    index = {0} if rows.names[:1] and rows.names[0] in _INDEX_NAMES else set()
    return index | {i for i, name in enumerate(rows.names) if name.lower() in _TIME_NAMES}


def _split_series(rows: Rows, column: int | None) -> tuple[list[_Series], str | None]:
    """The series of a table, and the order of their rows if they are interleaved."""
    if column is None:
        return [_Series("", 0, rows.n_rows)], None
    numbers: dict[str, int] = {}
    parts = [np.zeros(0, np.int32)]
    for start in range(0, rows.n_rows, SCAN_ROWS):
        cells = rows.read(start, start + SCAN_ROWS)[column].cast(pa.string()).dictionary_encode()
        local = [numbers.setdefault(str(cell), len(numbers)) for cell in cells.dictionary.to_pylist()]
        parts.append(np.array(local, np.int32)[cells.indices.to_numpy(zero_copy_only=False)])
    codes = np.concatenate(parts)
    counts = np.bincount(codes, minlength=len(numbers))
    starts = np.cumsum(counts) - counts
    if np.all(np.diff(codes) >= 0):
        return [_Series(id_, int(starts[n]), int(counts[n])) for id_, n in numbers.items()], None
    rows_of = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    series = [_Series(id_, 0, int(counts[n]), rows_of[n]) for id_, n in numbers.items()]
    return series, base64.b64encode(zlib.compress(codes.tobytes(), 9)).decode()


def _native_rows(segment: Signal, meta: Meta, writer: RowWriter) -> Iterator[list[pa.Array]]:
    """All columns of a segment in their places, as many rows at a time as the writer takes."""
    channels = set(meta["channels"])
    kinds = [unpack_kinds(segment, channel) for channel in range(len(channels))]
    through: dict[int, pa.Array] = {}
    for position in range(meta["n_columns"]):
        if position == meta["series"]:
            ids = pa.repeat(segment.info.id, segment.length)
            through[position] = ids.cast(writer.kind(position))
        elif position not in channels:
            packed = segment.attachments[f"column.{position}"]
            through[position] = unpack_column(packed, writer.kind(position), segment.length)
    for start, stop in blocks(segment.length, writer.most_rows):
        columns: list[Any] = [None] * meta["n_columns"]
        for channel, position in enumerate(meta["channels"]):
            values = segment.values[start:stop, channel].astype(np.float64)
            columns[position] = writer.column(position, values, kinds[channel][start:stop])
        for position, column in through.items():
            columns[position] = column[start:stop]
        yield columns


def _write_reordered(stretches: Sequence[Sequence[pa.Array]], order: str, writer: RowWriter) -> None:
    """Bring the rows of interleaved series back into the order of the file."""
    n_rows = sum(len(columns[0]) for columns in stretches)
    codes = np.frombuffer(inflate(base64.b64decode(order), 4 * n_rows), np.int32)
    places = pa.array(np.argsort(np.argsort(codes, kind="stable"), kind="stable"))
    columns = [pa.concat_arrays(parts).take(places) for parts in zip(*stretches, strict=True)]
    for start in range(0, n_rows, SCAN_ROWS):
        writer.write([column[start : start + SCAN_ROWS] for column in columns])
