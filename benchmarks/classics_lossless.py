"""Coders of numbers as they are: of tables pcodec and Parquet, of nanopore counts VBZ and pcodec; and SZ3."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pod5.signal_tools import vbz_compress_signal, vbz_decompress_signal

from common import Seconds, there_and_back

Counts = NDArray[np.int16]
Packer = tuple[Callable[[Counts], Any], Callable[[Any, int], Counts]]
"""From a signal to bytes, and from bytes and the number of samples back."""
VBZ_CHUNK = 102_400
"""Samples that POD5 compresses together."""

# --- tables -------------------------------------------------------------------------------------


def tables(columns: NDArray[Any]) -> Iterator[tuple[str, int, Seconds]]:
    """Coders of a table [T C] of whole numbers or floats: their bytes, and how long they take."""
    yield ("pcodec, level 12", *_pcodec(columns))
    encodings = ["PLAIN", "BYTE_STREAM_SPLIT"]
    encodings += ["DELTA_BINARY_PACKED"] if columns.dtype.kind == "i" else []
    for encoding in encodings:
        size, seconds = _parquet(columns, column_encoding=encoding, use_dictionary=False)
        yield f"Parquet, {encoding}, zstd-19", size, seconds
    yield ("Parquet, dictionary, zstd-19", *_parquet(columns, use_dictionary=True))


def _pcodec(columns: NDArray[Any]) -> tuple[int, Seconds]:
    standalone = import_module("pcodec.standalone")
    packed, _, seconds = there_and_back(
        lambda: [_pco(column) for column in columns.T],
        lambda packed: [standalone.simple_decompress(column) for column in packed],
    )
    return sum(map(len, packed)), seconds


def _pco(column: NDArray[Any]) -> bytes:
    pcodec = import_module("pcodec")
    standalone = import_module("pcodec.standalone")
    config = pcodec.ChunkConfig(compression_level=12)
    packed: bytes = standalone.simple_compress(np.ascontiguousarray(column), config)
    return packed


def _parquet(columns: NDArray[Any], **encoding: Any) -> tuple[int, Seconds]:
    """Bytes of its column chunks, without footer."""
    table = pa.table({str(i): np.ascontiguousarray(column) for i, column in enumerate(columns.T)})

    def write() -> io.BytesIO:
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", compression_level=19, **encoding)
        return buffer

    buffer, _, seconds = there_and_back(write, pq.read_table)
    group = pq.read_metadata(buffer).row_group(0)
    return sum(group.column(i).total_compressed_size for i in range(group.num_columns)), seconds


# --- nanopore -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Packed:
    """Reads after a coder.

    Attributes:
        bits_per_value: of the payloads.
        largest_error: in ADC steps.
        compress, decompress: samples a second of one processor.
    """

    bits_per_value: float
    largest_error: int
    compress: float
    decompress: float


def packed(signals: Sequence[Counts], packer: Packer) -> Packed:
    """All reads there and back."""
    pack, unpack = packer
    samples = sum(map(len, signals))
    stored, restored, seconds = there_and_back(
        lambda: [pack(signal) for signal in signals],
        lambda stored: [unpack(data, len(signal)) for data, signal in zip(stored, signals, strict=True)],
    )
    off = max(int(np.abs(a.astype(int) - b).max(initial=0)) for a, b in zip(signals, restored, strict=True))
    size = sum(memoryview(data).nbytes for data in stored)
    return Packed(8 * size / samples, off, samples / seconds.compress, samples / seconds.restore)


def vbz() -> Packer:
    return vbz_compress_signal, vbz_decompress_signal


def pco() -> Packer:
    standalone = import_module("pcodec.standalone")
    return _pco, lambda data, _: standalone.simple_decompress(data)


def dropping(packer: Packer, bits: int) -> Packer:
    """Counts rounded to multiples of 2^bits, whose numbers are packed."""
    pack, unpack = packer
    half = 1 << bits >> 1
    return (
        lambda signal: pack(((signal.astype(np.int32) + half) >> bits).astype(np.int16)),
        lambda data, samples: (unpack(data, samples) << bits).astype(np.int16),
    )


def sz3(most: int) -> Packer:
    """Within so many steps, as 32-bit whole numbers."""
    pysz = import_module("pysz")

    def pack(signal: Counts) -> NDArray[np.uint8]:
        config = pysz.szConfig()
        config.errorBoundMode, config.absErrorBound = pysz.szErrorBoundMode.ABS, most
        data: NDArray[np.uint8] = pysz.sz.compress(signal.astype(np.int32), config)[0]
        return data

    def unpack(data: NDArray[np.uint8], samples: int) -> Counts:
        found: NDArray[np.int32] = pysz.sz.decompress(data, np.int32, (samples,))[0]
        return found.astype(np.int16)

    return pack, unpack


def chunks(signals: Sequence[Counts]) -> list[Counts]:
    """As POD5 cuts reads."""
    return [signal[i : i + VBZ_CHUNK] for signal in signals for i in range(0, len(signal), VBZ_CHUNK)]
