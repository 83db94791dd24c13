"""Raw nanopore current: POD5 <-> signals [T 1] in pA.

Every field of a read and of its run is kept, so that the restored file holds equal reads.
Format: https://pod5-file-format.readthedocs.io/en/latest/SPECIFICATION.html
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anycodec.atomic import atomic_path, disk_full
from anycodec.config.data import Pod5Source
from anycodec.errors import DataError
from anycodec.io.base import Format, Reader
from anycodec.io.discover import label_of
from anycodec.io.pod5_fields import (
    FLOATS,
    OTHERS,
    USUAL,
    json_floats,
    pod5_library,
    to_picoamperes,
    usable_calibration,
)
from anycodec.io.pod5_signal import SignalTable
from anycodec.io.pod5_writer import check_complete, write_reads
from anycodec.types import FileInfo, Signal, SignalInfo

if TYPE_CHECKING:
    import pod5

_DAMAGE = (RuntimeError, OSError, ValueError, LookupError, TypeError, OverflowError, pa.ArrowException)
"""What pod5 and pyarrow raise on damaged files."""


class Pod5Format(Format[Pod5Source]):
    """POD5 files, read and written with the pod5 library."""

    name = "pod5"
    suffixes = (".pod5",)

    def open(self, path: Path, source: Pod5Source) -> Pod5Reader:
        return Pod5Reader(path, source)

    def write(self, path: Path, info: FileInfo, segments: Iterable[Signal]) -> None:
        library = pod5_library()
        kind = library.writer.SignalType
        compression = kind.VbzSignal if info.meta["vbz"] else kind.UncompressedSignal
        # The library wants a path that is free, and leaves its own temporary files behind when it fails.
        with atomic_path(path) as temporary, TemporaryDirectory(prefix=".pod5.", dir=path.parent) as folder:
            written = Path(folder, path.name)
            try:
                with library.Writer(written, "anycodec", compression) as writer:
                    n_reads = write_reads(writer, info.meta["run_infos"], segments)
            except RuntimeError as error:
                if "IOError" in str(error):  # the library's only word for a full disk or a quota
                    raise disk_full(path) from error
                raise
            check_complete(written, n_reads, path)
            written.replace(temporary)

    def places(self, values: NDArray[Any], info: SignalInfo) -> NDArray[Any]:
        offset, scale = _calibration(info)
        return values.astype(np.float64) / np.float64(np.float32(scale)) - np.float32(offset)

    def values_at(self, places: NDArray[Any], info: SignalInfo) -> NDArray[Any]:
        limits = np.iinfo(np.int16)
        counts = np.clip(places, limits.min, limits.max).astype(np.int16)
        return to_picoamperes(counts, *_calibration(info))

    def step(self, info: SignalInfo) -> float:
        return abs(_calibration(info)[1])

    def join(self, file: FileInfo, more: FileInfo) -> FileInfo:
        runs = list(file.meta["run_infos"])
        runs += [run for run in more.meta["run_infos"] if run not in runs]
        return replace(file, n_signals=file.n_signals + more.n_signals, meta={**file.meta, "run_infos": runs})

    def placed(self, info: SignalInfo, file: FileInfo, more: FileInfo) -> SignalInfo:
        run = more.meta["run_infos"][(USUAL | dict(info.meta))["run_info"]]
        others = {name: value for name, value in info.meta.items() if name != "run_info"}
        number = file.meta["run_infos"].index(run)
        return replace(info, meta=others | ({"run_info": number} if number != USUAL["run_info"] else {}))

    def divisible(self, info: FileInfo) -> bool:
        return False  # a gap in a read would pass for current

    def native_type(self, info: SignalInfo) -> np.dtype[Any]:
        return np.dtype(np.float32)

    def text(self, info: FileInfo, segments: Iterable[Signal]) -> Iterator[str]:
        """A line a read, in the manner of SLOW5: id, samples a second, number of samples, all samples."""
        yield "read_id\tsample_rate\tsamples\tpA"
        for segment in segments:
            if segment.start == 0:
                yield f"\n{segment.info.id}\t{segment.info.rate:g}\t{segment.info.length}\t"
            values = ",".join(self.native(segment)[:, 0].astype(str).tolist())
            yield values if segment.start == 0 else f",{values}"
        yield "\n"

    def restored_name(self, original: str, info: FileInfo) -> str:
        return original


def _calibration(info: SignalInfo) -> tuple[float, float]:
    """Offset and scale of a read."""
    fields = FLOATS | dict(info.meta)
    return fields["calibration_offset"], fields["calibration_scale"]


class Pod5Reader(Reader):
    """An open POD5 file. Holds the columns of a few record batches, never all reads."""

    def __init__(self, path: Path, source: Pod5Source) -> None:
        library = pod5_library()
        self._path = path
        self._label = label_of(path, source.root)
        self._file: pod5.Reader = _open(library, path)
        with _damage(path):
            self._tables = [
                self._file.read_table.get_batch(i).num_rows for i in range(self._file.batch_count)
            ]
            vbz = bool(self._file.is_vbz_compressed)
            self._signal = SignalTable(self._file)
            runs = _run_infos(self._file, [f.name for f in dataclasses.fields(library.RunInfo)])
        self._first = np.concatenate([[0], np.cumsum(self._tables, dtype=np.int64)])
        self._rates = [float(run["sample_rate"]) for run in runs]
        self._run_index: dict[str, int] = {}
        for index, run in enumerate(runs):
            self._run_index.setdefault(run["acquisition_id"], index)
        self.info = FileInfo(
            path=str(path),
            format="pod5",
            n_signals=int(self._first[-1]),
            meta={"run_infos": runs, "vbz": vbz},
        )
        self._batch = lru_cache(maxsize=8)(self._read_batch)

    def signals(self) -> Iterator[SignalInfo]:
        for number in range(len(self._tables)):
            batch = self._batch(number)
            for row in range(len(batch)):
                yield batch.info(row)

    def segments(self, block: int) -> Iterator[Signal]:
        for number in range(len(self._tables)):
            batch = self._batch(number)
            for row in range(len(batch)):
                info = batch.info(row)
                for start in range(0, max(1, info.length), block):
                    yield self._segment(batch, row, info, start, min(start + block, info.length))

    def fetch(self, index: int, start: int, stop: int) -> Signal:
        number = int(np.searchsorted(self._first, index, side="right")) - 1
        batch, row = self._batch(number), index - int(self._first[number])
        info = batch.info(row)
        return self._segment(batch, row, info, start, min(stop, info.length))

    def close(self) -> None:
        self._batch.cache_clear()
        self._signal.close()
        self._file.close()

    def _segment(self, batch: _Batch, row: int, info: SignalInfo, start: int, stop: int) -> Signal:
        offset, scale = batch.calibration(row)
        values = np.empty((stop - start, 1), np.float32)
        position = 0
        with _damage(self._path):
            for signal_row in batch.signal_rows(row):
                if position >= stop < info.length:  # later chunks stay untouched, their pages on disk
                    break
                count = self._signal.count(signal_row)
                low, high = max(start, position), min(stop, position + count)
                if high > low:
                    adc = self._signal.adc(signal_row)[low - position : high - position]
                    to_picoamperes(adc, offset, scale, values[low - start : high - start, 0])
                position += count
            if position < stop or (stop == info.length and position > stop):
                raise ValueError(f"a read of {info.length} samples has chunks of {position}")
        return Signal(info=info, values=values, start=start)

    def _read_batch(self, number: int) -> _Batch:
        with _damage(self._path):
            columns = self._file.get_batch(number).columns
            return _Batch(self._path, columns, self._run_index, self._rates, self._label)


class _Batch:
    """The columns of one record batch of the read table."""

    def __init__(
        self,
        path: Path,
        columns: Any,
        run_index: dict[str, int],
        rates: Sequence[float],
        label: str | None,
    ) -> None:
        for name in columns._fields:
            getattr(columns, name).validate(full=True)
        self._path, self._rates, self._label = path, rates, label
        self._ids = columns.read_id.to_pylist()
        self._lengths = columns.num_samples.to_pylist()
        self._rows = columns.signal.values.to_numpy()
        self._ends = columns.signal.offsets.to_numpy()
        self._offset = columns.calibration_offset.to_pylist()
        self._scale = columns.calibration_scale.to_pylist()
        kept = {name: getattr(columns, name).to_pylist() for name in OTHERS}
        if "channel_32bit" in columns._fields:
            kept["channel"] = columns.channel_32bit.to_pylist()
        for name in (name for name in FLOATS if name in columns._fields):  # in this order: files depend on it
            kept[name] = json_floats(getattr(columns, name).to_numpy(zero_copy_only=False))
        kept["run_info"] = [run_index[name] for name in columns.run_info.to_pylist()]
        self._kept: dict[str, list[Any]] = kept
        if any(values.count(None) for name, values in kept.items() if name not in FLOATS):
            raise ValueError("a read lacks a field")

    def __len__(self) -> int:
        return len(self._ids)

    def info(self, row: int) -> SignalInfo:
        """Describe a read; fields at their usual values are left out of its metadata."""
        meta = {name: values[row] for name, values in self._kept.items() if values[row] != USUAL[name]}
        return SignalInfo(
            id=str(UUID(bytes=self._ids[row])),
            axes="TC",
            shape=(self._lengths[row], 1),
            dtype="int16",
            rate=self._rates[self._kept["run_info"][row]],
            unit="pA",
            channels=("current",),
            label=self._label,
            meta=meta,
        )

    def calibration(self, row: int) -> tuple[float, float]:
        """Offset and scale of a read.

        Raises:
            DataError: int16 samples would not survive this calibration.
        """
        offset, scale = self._offset[row], self._scale[row]
        if usable_calibration(offset, scale):
            return offset, scale
        raise DataError(
            f"read {UUID(bytes=self._ids[row])} has a calibration that can't be inverted: offset {offset:g}, "
            f"scale {scale:g}",
            where=str(self._path),
            how="leave the file out with data.exclude",
        )

    def signal_rows(self, row: int) -> list[int]:
        """Rows of the signal table that hold the chunks of a read."""
        rows: list[int] = self._rows[self._ends[row] : self._ends[row + 1]].tolist()
        return rows


def _run_infos(file: pod5.Reader, names: Sequence[str]) -> list[dict[str, Any]]:
    """The run info table as JSON values; times are milliseconds since 1970 UTC."""
    runs: list[dict[str, Any]] = []
    for number in range(file.run_info_table.num_record_batches):
        batch = file.run_info_table.get_batch(number)
        batch.validate(full=True)
        columns = {}
        for name in names:
            column = batch.column(name)
            columns[name] = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        for row in range(batch.num_rows):
            values = {name: column[row].as_py() for name, column in columns.items()}
            values |= {name: dict(values[name]) for name in ("context_tags", "tracking_id")}
            runs.append(values)
    return runs


def _open(library: Any, path: Path) -> pod5.Reader:
    if not path.is_file():
        raise DataError("the file does not exist", where=str(path))
    with _damage(path):
        return library.Reader(path)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what the library raises on a damaged file into a DataError."""
    try:
        yield
    except (
        RuntimeError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        OverflowError,
        pa.ArrowException,
    ) as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"not a usable POD5 file, it is truncated, damaged or of another kind ({detail})",
            where=str(path),
            how="copy it again from its source, or leave it out with data.exclude",
        ) from error
