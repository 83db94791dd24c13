"""The signal table of a POD5 file: compressed chunks of samples."""

from __future__ import annotations

import mmap
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pod5

MOST_CHUNK_SAMPLES = 2**26
"""A chunk (102,400 samples as MinKNOW writes them) that claims more than this is damaged."""


class SignalTable:
    """The chunks of samples, by row.

    Mapped into memory apart from the library's own mapping, so that pages can be given back: the
    resident size does not grow with the file.
    """

    def __init__(self, file: pod5.Reader) -> None:
        place = file.inner_file_reader.get_file_signal_table_location()
        before = place.offset % mmap.ALLOCATIONGRANULARITY
        with Path(place.file_path).open("rb") as handle:
            self._map = mmap.mmap(
                handle.fileno(), before + place.length, offset=place.offset - before, access=mmap.ACCESS_READ
            )
        self._table = pa.ipc.open_file(pa.py_buffer(memoryview(self._map)[before:]))
        self._vbz = bool(file.is_vbz_compressed)
        self._rows_per_batch = int(file.signal_batch_row_count)
        self._batch = lru_cache(maxsize=64)(self._read_batch)
        self._scratch = np.empty(0, np.int16)

    def count(self, row: int) -> int:
        """Number of samples of a chunk."""
        number, within = divmod(row, self._rows_per_batch)
        return self._batch(number)[1][within]

    def adc(self, row: int) -> NDArray[np.int16]:
        """The samples of a chunk, valid until the next call."""
        from pod5.signal_tools import vbz_decompress_signal_into

        number, within = divmod(row, self._rows_per_batch)
        signal, counts = self._batch(number)
        if not self._vbz:
            stored: NDArray[np.int16] = signal[within].values.to_numpy()
            return stored
        if counts[within] > len(self._scratch):
            self._scratch = np.empty(counts[within], np.int16)
        samples = self._scratch[: counts[within]]
        vbz_decompress_signal_into(memoryview(signal[within].as_buffer()), samples)
        return samples

    def close(self) -> None:
        self._batch.cache_clear()

    def _read_batch(self, number: int) -> tuple[pa.Array, list[int]]:
        """The chunks of a record batch, and how many samples each has."""
        if sys.platform == "linux":
            self._map.madvise(mmap.MADV_DONTNEED)  # pages still needed come back by themselves
        batch = self._table.get_batch(number)
        batch.validate(full=True)
        counts: list[int] = batch.column("samples").to_pylist()
        if max(counts, default=0) > MOST_CHUNK_SAMPLES:
            raise ValueError(f"a chunk claims {max(counts)} samples")
        return batch.column("signal"), counts
