"""Table columns that pass through untouched, as compact bytes.

    byte 0   content
    "s"      JSON [format, start, step]: a steady progression
    "d"      JSON format, newline, zlib of int64 differences (the first from 0)
    "a"      zlib of an Arrow IPC stream of one dictionary-encoded column

A format is a strptime format of text (whole seconds), or "int": integers as text, or as stored.
Each form is chosen only if it gives back the very same column.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from anycodec.errors import DataError
from anycodec.io.values import inflate

MOST_BYTES = 2**31
"""A column of a segment that claims more is damaged."""

_TIME_FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M:%S+00:00",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y",
)


def pack_column(column: pa.Array) -> bytes:
    """A column as bytes, exactly."""
    for form in _plausible_formats(column):
        numbers = _to_integers(column, form)
        if numbers is not None:
            return _pack_integers(numbers, form)
    table = pa.table({"": _encoded(column)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return b"a" + zlib.compress(sink.getvalue())


def unpack_column(packed: bytes, kind: pa.DataType, length: int) -> pa.Array:
    """The inverse of `pack_column`.

    Raises:
        DataError: the bytes are damaged, or hold another number of rows.
    """
    try:
        column = _unpack(packed, kind, length)
        column.validate(full=True)
    except (ValueError, LookupError, TypeError, OverflowError, OSError, pa.ArrowException) as error:
        raise DataError(f"a column that was passed through is damaged ({error})") from error
    if len(column) != length:
        raise DataError(f"a column that was passed through has {len(column)} rows, {length} are needed")
    return column


def _unpack(packed: bytes, kind: pa.DataType, length: int) -> pa.Array:
    form, body = packed[:1], packed[1:]
    if form == b"s":
        time_format, start, step = json.loads(body)
        steps = np.int64(step) * np.arange(length, dtype=np.int64)
        return _from_integers(np.int64(start) + steps, time_format, kind)
    if form == b"d":
        head, differences = body.split(b"\n", 1)
        numbers = np.cumsum(np.frombuffer(inflate(differences, 8 * length), np.int64))
        return _from_integers(numbers, json.loads(head), kind)
    stored = pa.ipc.open_stream(inflate(body, MOST_BYTES)).read_all().column(0)
    stored.validate(full=True)
    return pa.concat_arrays(stored.cast(kind).chunks) if stored.num_chunks else pa.array([], kind)


def _plausible_formats(column: pa.Array) -> Sequence[str]:
    """Formats worth trying, judged by the first value."""
    if column.null_count or not len(column):
        return ()
    if not _is_text(column.type):
        return ("int",) if _is_whole(column.type) else ()
    first = column[:1]
    return [form for form in ("int", *_TIME_FORMATS) if _to_integers(first, form) is not None]


def _to_integers(column: pa.Array, form: str) -> NDArray[np.int64] | None:
    """The integers that stand for this column, None if they would not give it back."""
    try:
        if form == "int":
            numbers = column.cast(pa.int64())
        else:
            times = pc.strptime(column, form, "s")
            numbers = times.cast(pa.int64())
        values: NDArray[np.int64] = numbers.to_numpy(zero_copy_only=False)
        return values if _from_integers(values, form, column.type).equals(column) else None
    except (pa.ArrowException, ValueError, TypeError):
        return None


def _from_integers(numbers: NDArray[np.int64], form: str, kind: pa.DataType) -> pa.Array:
    column = pa.array(numbers, pa.int64())
    if form == "int":
        return column.cast(kind)
    if form not in _TIME_FORMATS:
        raise ValueError(f"unknown format of times {form!r}")
    return pc.strftime(column.cast(pa.timestamp("s")), form).cast(kind)


def _pack_integers(numbers: NDArray[np.int64], form: str) -> bytes:
    differences = np.diff(numbers, prepend=np.int64(0))  # wraps around, as the sum does
    if np.all(differences[2:] == differences[1:2]):
        step = int(differences[1]) if len(numbers) > 1 else 0
        return b"s" + json.dumps([form, int(numbers[0]), step]).encode()
    return b"d" + json.dumps(form).encode() + b"\n" + zlib.compress(differences.astype(np.int64).tobytes())


def _encoded(column: pa.Array) -> pa.Array:
    """Repeated text once."""
    return column.dictionary_encode() if _is_text(column.type) else column


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_whole(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_date64(kind)
        or pa.types.is_time64(kind)
        or pa.types.is_duration(kind)
    )
