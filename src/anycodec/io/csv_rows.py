"""CSV and TSV. An index of where every 1024th row begins makes any stretch of rows reachable."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from anycodec.errors import DataError
from anycodec.io.numerals import Survey, read_numbers, write_numbers
from anycodec.io.rows import Numbers, Rows, RowWriter, damage, json_map

STRIDE = 1024
SURVEY_ROWS = 16 * STRIDE
SCAN_BYTES = 2**20
MOST_HEADER_BYTES = 2**20
SAMPLE_BYTES = 2**14
"""How much is looked at to tell which columns are always in quotes."""
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written.

    Attributes:
        delimiter: between cells.
        newline: at the end of rows.
        header: the first line as it stands, None where there is none.
        quoted: for each column, whether all its cells are in quotes.
        quotes: whether there are quotes at all.
        tail: what follows the last row.
        bom: whether it starts with a byte order mark.
    """

    delimiter: str
    newline: str
    header: str | None
    quoted: tuple[bool, ...]
    quotes: bool
    tail: str
    bom: bool


class CsvRows(Rows):
    """An open CSV or TSV file. All columns are read as text."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with damage(path, "CSV"):
            self._file: BinaryIO = path.open("rb")
        try:
            with damage(path, "CSV"):
                self._open()
        except BaseException:
            self._file.close()
            raise
        self.numeric = tuple(i for i, survey in enumerate(self._surveys) if survey.is_numeric)
        self._forms = {i: survey.form() for i, survey in enumerate(self._surveys)}

    def read(self, start: int, stop: int) -> list[pa.Array]:
        with damage(self._path, "CSV"):
            return self._parse(start, max(start, min(stop, self.n_rows)))

    def numbers(self, position: int, column: pa.Array) -> Numbers:
        return read_numbers(column, self._forms[position]["missing"])

    def check(self, position: int) -> None:
        survey = self._surveys[position]
        if survey.first_text is None:
            return
        row, text = survey.first_text
        name = self.names[position]
        raise DataError(
            f"column {name!r} holds numbers, but here the text {text[:40]!r}",
            where=f"{self._path}:{self._line(row)}",
            how="correct the cell, or list the columns to code, without this one, in data.columns",
        )

    def dtype(self, position: int) -> str:
        return "int64" if self._forms[position]["form"] == "int" else "float64"

    def meta(self) -> dict[str, Any]:
        return {"dialect": asdict(self._dialect), "forms": json_map(self._forms)}

    def close(self) -> None:
        self._file.close()

    def _open(self) -> None:
        first, bom = _first_line(self._file)
        delimiter = "\t" if self._path.suffix.lower() == ".tsv" else _delimiter(first)
        cells = _split(first, delimiter)
        headless = all(_is_number(cell) for cell in cells)
        body = len(_BOM) * bom + (0 if headless else len(first))
        size = self._path.stat().st_size
        tail = _tail(self._file, body, size, single=len(cells) == 1)
        self._starts, self.n_rows, quotes = _index(self._file, body, size - len(tail))
        if not self.n_rows:
            tail = first[len(first.rstrip(b"\r\n")) :] + tail
        self._file.seek(body)
        sample = [_split(line, delimiter) for line in self._file.readlines(SAMPLE_BYTES)]
        sample = [row for row in sample if len(row) == len(cells)]
        self._dialect = Dialect(
            delimiter=delimiter,
            newline="\r\n" if first.endswith(b"\r\n") else "\n",
            header=None if headless else first.decode().rstrip("\r\n"),
            quoted=tuple(
                quotes and all(c.startswith('"') for c in cells) for cells in zip(*sample, strict=True)
            ),
            quotes=quotes,
            tail=tail.decode(),
            bom=bom,
        )
        self.names = tuple(str(i) if headless else _unquote(cell) for i, cell in enumerate(cells))
        self._surveys = [Survey() for _ in cells]
        for start in range(0, self.n_rows, SURVEY_ROWS):
            columns = self._parse(start, min(start + SURVEY_ROWS, self.n_rows))
            for survey, column in zip(self._surveys, columns, strict=True):
                survey.feed(column, start)

    def _parse(self, start: int, stop: int) -> list[pa.Array]:
        if stop <= start:
            return [pa.array([], pa.string())] * len(self.names)
        first, last = start // STRIDE, -(-stop // STRIDE)
        self._file.seek(self._starts[first])
        content = self._file.read(self._starts[last] - self._starts[first])
        keys = [str(i) for i in range(len(self.names))]
        try:
            table = csv.read_csv(
                pa.BufferReader(content),
                csv.ReadOptions(use_threads=False, column_names=keys, block_size=max(len(content), 1)),
                csv.ParseOptions(
                    delimiter=self._dialect.delimiter,
                    newlines_in_values=self._dialect.quotes,
                    ignore_empty_lines=False,
                ),
                csv.ConvertOptions(column_types=dict.fromkeys(keys, pa.string()), strings_can_be_null=False),
            )
        except pa.ArrowInvalid as error:
            raise self._located(error, first * STRIDE) from error
        if table.num_rows != min(last * STRIDE, self.n_rows) - first * STRIDE:
            raise ValueError("its rows can't be told apart")
        rows = table.slice(start - first * STRIDE, stop - start).combine_chunks()
        return [rows.column(key).chunk(0) for key in keys]

    def _located(self, error: pa.ArrowInvalid, row: int) -> DataError:
        """The parser's message with the line in the file."""
        message = str(error).splitlines()[0].removeprefix("CSV parse error: ")
        found = re.match(r"Row #(\d+): (.*)", message)
        line = self._line(row + int(found[1]) - 1) if found else self._line(row)
        return DataError(
            f"the row can't be read: {found[2] if found else message}",
            where=f"{self._path}:{line}",
            how="correct the row, or leave the file out with data.exclude",
        )

    def _line(self, row: int) -> int:
        return row + (1 if self._dialect.header is None else 2)


class CsvWriter(RowWriter):
    """Writes rows in the dialect and the number forms of the original."""

    most_rows = 2**13

    def __init__(self, path: Path, meta: Mapping[str, Any]) -> None:
        bom = Dialect(**meta["dialect"]).bom
        self._begin(path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline=""), meta)

    def _begin(self, file: TextIO, meta: Mapping[str, Any]) -> None:
        self._dialect = Dialect(**meta["dialect"])
        self._forms: Mapping[str, Mapping[str, Any]] = meta["forms"]
        self._file = file
        self._separator = ""
        if self._dialect.header is not None:
            self._file.write(self._dialect.header)
            self._separator = self._dialect.newline

    def column(self, position: int, values: NDArray[np.float64], kinds: NDArray[np.int64]) -> pa.Array:
        return pa.array(write_numbers(values, kinds, self._forms[str(position)]), pa.string())

    def kind(self, position: int) -> pa.DataType:
        return pa.string()

    def write(self, columns: Sequence[pa.Array]) -> None:
        quoted = self._dialect.quoted or (False,) * len(columns)
        cells = [self._quote(c.to_pylist(), q) for c, q in zip(columns, quoted, strict=True)]
        newline = self._dialect.newline
        text = newline.join(map(self._dialect.delimiter.join, zip(*cells, strict=True)))
        if cells and cells[0]:
            self._file.write(self._separator + text)
            self._separator = newline

    def close(self) -> None:
        with self._file:
            self._file.write(self._dialect.tail)

    def _quote(self, cells: list[str], always: bool) -> list[str]:
        if always:
            return ['"' + cell.replace('"', '""') + '"' for cell in cells]
        if not self._dialect.quotes:
            return cells
        special = re.compile(f'["\r\n{re.escape(self._dialect.delimiter)}]')
        return ['"' + cell.replace('"', '""') + '"' if special.search(cell) else cell for cell in cells]


class CsvText(CsvWriter):
    """Writes rows into memory; take them out as they come."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._buffer = io.StringIO(newline="")
        self._begin(self._buffer, meta)

    def taken(self) -> str:
        """What was written since the last time."""
        content = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return content

    def close(self) -> None:
        self._file.write(self._dialect.tail)


def _first_line(file: BinaryIO) -> tuple[bytes, bool]:
    """The first line, and whether a byte order mark came before it."""
    first = file.readline(MOST_HEADER_BYTES)
    bom = first.startswith(_BOM)
    first = first[len(_BOM) * bom :]
    if not first.strip() or b"\0" in first or not (first.endswith(b"\n") or len(first) < MOST_HEADER_BYTES):
        raise ValueError("it has no header of text")
    return first, bom


def _delimiter(line: bytes) -> str:
    return max(",;\t|", key=lambda mark: line.decode().count(mark))


def _split(line: bytes, delimiter: str) -> list[str]:
    """Cells as they stand, with their quotes."""
    mark = re.escape(delimiter)
    text = line.decode().rstrip("\r\n")
    return [found[1] for found in re.finditer(rf'(?:^|{mark})("(?:[^"]|"")*"|[^{mark}]*)', text)]


def _quoted(sample: Sequence[Sequence[str]]) -> tuple[bool, ...]:
    """Which columns always stand in quotes."""
    return tuple(all(cell.startswith('"') for cell in column) for column in zip(*sample, strict=True))


def _unquote(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell.startswith('"') else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _tail(file: BinaryIO, body: int, size: int, *, single: bool) -> bytes:
    """Line ends after the last row. With one column, empty lines are missing values."""
    start = max(body, size - 2**12)
    file.seek(start)
    end = file.read(size - start)
    if single:
        return b"\r\n" if end.endswith(b"\r\n") else b"\n" if end.endswith(b"\n") else b""
    return end[len(end.rstrip(b"\r\n")) :]


def _index(file: BinaryIO, start: int, end: int) -> tuple[list[int], int, bool]:
    """Where each STRIDE-th row begins and the last one ends, the number of rows, whether there are quotes.

    A line end inside quotes, after an odd number of them, ends no row.
    """
    starts, n_rows, n_quotes = [start], 0, 0
    file.seek(start)
    position = start
    while position < end:
        content = np.frombuffer(file.read(min(SCAN_BYTES, end - position)), np.uint8)
        ends = np.flatnonzero(content == ord("\n"))
        quotes = content == ord('"')
        if n_quotes or quotes.any():
            before = n_quotes + np.cumsum(quotes)
            ends, n_quotes = ends[before[ends] % 2 == 0], int(before[-1])
        kept = ends[(STRIDE - 1 - n_rows % STRIDE) :: STRIDE]
        starts += (kept + position + 1).tolist()
        n_rows += len(ends)
        position += len(content)
    if end > start:
        n_rows += 1
    return [*starts, end], n_rows, n_quotes > 0
