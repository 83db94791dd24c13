"""Write reads with the pod5 library, a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
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


def write_reads(writer: pod5.Writer, runs: Sequence[Meta], segments: Iterable[Signal]) -> int:
    """Add all reads, a batch at a time; returns their number."""
    run_infos = [pod5_library().RunInfo(**run) for run in runs]
    for run in run_infos:
        writer.add(run)
    waiting: list[pod5.Read] = []
    n_reads = n_samples = 0
    for info, adc in _whole_reads(segments):
        waiting.append(native_read(info, adc, run_infos))
        n_reads, n_samples = n_reads + 1, n_samples + len(adc)
        if len(waiting) == READS_PER_BATCH or n_samples >= SAMPLES_PER_BATCH:
            writer.add_reads(waiting)
            waiting, n_samples = [], 0
    writer.add_reads(waiting)
    return n_reads


def _whole_reads(segments: Iterable[Signal]) -> Iterator[tuple[SignalInfo, NDArray[np.int16]]]:
    """Join the segments of each read, as ADC counts."""
    info: SignalInfo | None = None
    parts: list[NDArray[np.int16]] = []
    for segment in segments:
        if segment.start == 0 and info is not None:
            yield info, np.concatenate(parts)
            parts = []
        info = segment.info
        fields = USUAL | dict(info.meta)
        parts.append(to_adc(segment.values[:, 0], fields["calibration_offset"], fields["calibration_scale"]))
    if info is not None:
        yield info, np.concatenate(parts)


def native_read(info: SignalInfo, adc: NDArray[np.int16], runs: Sequence[pod5.RunInfo]) -> pod5.Read:
    """A read of the library from ours: the inverse of `anycodec.io.pod5`'s description of it."""
    library = pod5_library()
    fields = USUAL | dict(info.meta)
    number = {name: math.nan if fields[name] is None else float(fields[name]) for name in FLOATS}
    levels = ("open_pore_level", "expected_open_pore_level", "selected_read_level")
    return library.Read(
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
        signal=adc,
        **{name: number[name] for name in levels if name in info.meta},
    )


def check_complete(written: Path, n_reads: int, target: Path) -> None:
    """The library drops errors when it closes a file, such as a full disk: look at the result."""
    try:
        with pod5_library().Reader(written) as reader:
            found = sum(batch.num_reads for batch in reader.read_batches())
    except (RuntimeError, OSError, pa.ArrowException) as error:
        raise disk_full(target) from error
    if found != n_reads:
        raise disk_full(target)
