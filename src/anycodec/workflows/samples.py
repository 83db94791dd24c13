"""`anycodec samples`: built-in sample data, written as real files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from anycodec import __version__
from anycodec.errors import MissingExtra, UserError
from anycodec.workflows.console import out as console

_NEXT = {"nanopore": "configs/nanopore.yaml"}
"""The configuration to try a kind with."""


def run(kind: str, out: Path, seed: int = 0, size: str = "full") -> int:
    """Write the sample data of a kind into an empty or new folder.

    Raises:
        UserError: the folder holds something already.
        MissingExtra: the library for the files is not installed.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            "the folder is not empty; nothing was written", where=str(out), how="choose a new folder"
        )
    written = _WRITERS[kind](out, seed, size)
    total = sum(path.stat().st_size for path in written)
    console.print(f"{len(written)} files, {total:,} bytes, in {out}")
    if kind in _NEXT:
        console.print(f"next: anycodec train {_NEXT[kind]} data.root={out}")
    return 0


def _nanopore(out: Path, seed: int, size: str) -> list[Path]:
    from anycodec.data.samples import nanopore

    count, files = (60, 2) if size == "small" else (400, 4)
    simulated = list(nanopore.reads(seed, count))
    written = []
    for number, part in enumerate(np.array_split(np.arange(count), files)):
        path = out / f"run{number // 2 + 1}" / f"sample_{number}.pod5"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_pod5(path, (simulated[i] for i in part))
        written.append(path)
    return written


def _write_pod5(path: Path, simulated: Iterable) -> None:  # type: ignore[type-arg]
    try:
        import pod5
    except ModuleNotFoundError as error:
        raise MissingExtra("the pod5 library", "pod5") from error
    from anycodec.data.samples.nanopore import SAMPLE_RATE

    begin = datetime(2026, 1, 1, tzinfo=UTC)
    info = pod5.RunInfo(
        acquisition_id="0" * 32 + "anycodec",
        acquisition_start_time=begin,
        adc_max=4095,
        adc_min=-4096,
        context_tags={"sample_frequency": str(SAMPLE_RATE), "experiment_type": "genomic_dna"},
        experiment_name="anycodec sample",
        flow_cell_id="SIM00001",
        flow_cell_product_code="FLO-PRO114M",
        protocol_name="simulated",
        protocol_run_id="anycodec-sample",
        protocol_start_time=begin,
        sample_id="simulated DNA",
        sample_rate=SAMPLE_RATE,
        sequencing_kit="sqk-lsk114",
        sequencer_position="S1",
        sequencer_position_type="promethion",
        software=f"anycodec {__version__} sample data",
        system_name="simulated",
        system_type="simulated",
        tracking_id={},
    )
    with pod5.Writer(path, "anycodec") as writer:
        writer.add_reads([
            pod5.Read(
                read_id=read.id,
                pore=pod5.Pore(read.channel, read.well, "not_set"),
                calibration=pod5.Calibration(read.offset, read.scale),
                read_number=read.number,
                start_sample=read.start,
                median_before=read.median_before,
                end_reason=pod5.EndReason(pod5.EndReasonEnum.SIGNAL_POSITIVE, False),
                run_info=info,
                signal=read.adc,
            )
            for read in simulated
        ])  # fmt: skip


_WRITERS: dict[str, Callable[[Path, int, str], list[Path]]] = {"nanopore": _nanopore}
