"""Write reads with the pod5 library, a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anycodec.atomic import disk_full
from anycodec.io.pod5_fields import FLOATS, USUAL, pod5_library, to_adc
from anycodec.types import Meta, Signal, SignalInfo

if TYPE_CHECKING:
    import pod5

READS_PER_BATCH = 100
"""Reads that are handed to the library at once."""
SAMPLES_PER_BATCH = 2**22
"""Samples that are handed to the library at once, a longer read alone."""
CHUNK_SAMPLES = 102_400
"""Samples of a compressed chunk, as MinKNOW and the library write them."""


def write_reads(writer: pod5.Writer, runs: Sequence[Meta], segments: Iterable[Signal]) -> int:
    """Add all reads, a batch at a time; returns their number."""
    library = pod5_library()
    run_infos = [library.RunInfo(**run) for run in runs]
    for run in run_infos:
        writer.add(run)
    vbz = writer.signal_compression_type == library.writer.SignalType.VbzSignal
    waiting: list[pod5.Read | pod5.CompressedRead] = []
    n_reads = n_samples = 0
    for info, chunks in _whole_reads(segments, vbz):
        waiting.append(native_read(info, chunks, run_infos))
        n_reads, n_samples = n_reads + 1, n_samples + sum(chunks.lengths)
        if len(waiting) == READS_PER_BATCH or n_samples >= SAMPLES_PER_BATCH:
            writer.add_reads(waiting)
            waiting, n_samples = [], 0
    writer.add_reads(waiting)
    return n_reads


class Chunks:
    """The ADC counts of one read. The library takes a read as a whole, so what waits is compressed.

    Attributes:
        vbz: whether chunks are compressed as they fill up.
        stored: chunks as the file holds them, bytes or int16.
        lengths: samples of each.
    """

    def __init__(self, vbz: bool) -> None:
        self.vbz = vbz
        self.stored: list[NDArray[Any]] = []
        self.lengths: list[int] = []
        self._rest = np.empty(0, np.int16)

    def add(self, adc: NDArray[np.int16]) -> None:
        """Append samples."""
        waiting = np.concatenate([self._rest, adc])
        full = len(waiting) - len(waiting) % CHUNK_SAMPLES
        for start in range(0, full, CHUNK_SAMPLES):
            self._store(waiting[start : start + CHUNK_SAMPLES])
        self._rest = waiting[full:].copy()

    def finish(self) -> Chunks:
        """Store what is left in a last, shorter chunk."""
        if len(self._rest):
            self._store(self._rest)
        return self

    def _store(self, adc: NDArray[np.int16]) -> None:
        from pod5.signal_tools import vbz_compress_signal

        # a copy: what the library gives is a view of a buffer for the worst case
        self.stored.append(vbz_compress_signal(adc).copy() if self.vbz else adc)
        self.lengths.append(len(adc))


def _whole_reads(segments: Iterable[Signal], vbz: bool) -> Iterator[tuple[SignalInfo, Chunks]]:
    """Join the segments of each read, as ADC counts."""
    info: SignalInfo | None = None
    chunks = Chunks(vbz)
    for segment in segments:
        if segment.start == 0 and info is not None:
            yield info, chunks.finish()
            chunks = Chunks(vbz)
        info = segment.info
        fields = USUAL | dict(info.meta)
        chunks.add(to_adc(segment.values[:, 0], fields["calibration_offset"], fields["calibration_scale"]))
    if info is not None:
        yield info, chunks.finish()


def native_read(
    info: SignalInfo, chunks: Chunks, runs: Sequence[pod5.RunInfo]
) -> pod5.Read | pod5.CompressedRead:
    """A read of the library from ours: the inverse of `anycodec.io.pod5`'s description of it."""
    library = pod5_library()
    fields = USUAL | dict(info.meta)
    number = {name: math.nan if fields[name] is None else float(fields[name]) for name in FLOATS}
    levels = ("open_pore_level", "expected_open_pore_level", "selected_read_level")
    kind, signal = _native_signal(chunks)
    return kind(
        read_id=UUID(info.id),
        pore=library.Pore(fields["channel"], fields["well"], fields["pore_type"]),
        calibration=library.Calibration(number["calibration_offset"], number["calibration_scale"]),
        read_number=fields["read_number"],
        start_sample=fields["start"],
        median_before=number["median_before"],
        end_reason=library.EndReason(
            library.EndReasonEnum[fields["end_reason"].upper()], fields["end_reason_forced"]
        ),
        run_info=runs[fields["run_info"]],
        num_minknow_events=fields["num_minknow_events"],
        tracked_scaling=library.pod5_types.ShiftScalePair(
            number["tracked_scaling_shift"], number["tracked_scaling_scale"]
        ),
        predicted_scaling=library.pod5_types.ShiftScalePair(
            number["predicted_scaling_shift"], number["predicted_scaling_scale"]
        ),
        num_reads_since_mux_change=fields["num_reads_since_mux_change"],
        time_since_mux_change=number["time_since_mux_change"],
        **signal,
        **{name: number[name] for name in levels if name in info.meta},
    )


def _native_signal(chunks: Chunks) -> tuple[Any, dict[str, Any]]:
    """The library's class for a read whose samples are stored like this, and its arguments for them."""
    library = pod5_library()
    if chunks.vbz:
        arguments = {"signal_chunks": chunks.stored, "signal_chunk_lengths": chunks.lengths}
        return library.CompressedRead, arguments
    return library.Read, {"signal": np.concatenate([np.empty(0, np.int16), *chunks.stored])}


def check_complete(written: Path, n_reads: int, target: Path) -> None:
    """The library drops errors when it closes a file, such as a full disk: look at the result."""
    try:
        with pod5_library().Reader(written) as reader:
            found = sum(batch.num_reads for batch in reader.read_batches())
    except (RuntimeError, OSError, pa.ArrowException) as error:
        raise disk_full(target) from error
    if found != n_reads:
        raise disk_full(target)
