"""Ten times the input takes no more memory: peak resident size of compress and decompress."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np
import pandas as pd
import pod5
import pytest

from anycodec.workflows.train import run as train

CODEC = """
codec:
  {type: simvqgan, base_channels: 8, stem_stride: 4, channels: [8], strides: [2], res_blocks: 0,
   mid_blocks: 0, latent_channels: 8, patch_skip: true, quantizer: {type: vq, codebook_size: 16}}
train: {steps: 1, batch_size: 4, val_every: 1, val_batches: 1, threads: 1}
"""
# smaller blocks than usual: the short input fills several already
COMMAND = """
import anycodec.data.window
anycodec.data.window.BLOCK_SAMPLES = 2**17
from anycodec.cli import main
main()
"""
# the peak of a child after exec holds what the parent had before it (Linux): measure in a grandchild
MEASURED = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-c", *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(*words: object) -> int:
    """Peak resident size of a command, KiB."""
    # one arena: how many malloc uses depends on chance
    environment = os.environ | {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURED, COMMAND, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return int(done.stdout)


def write_reads(path: Path, times: int) -> int:
    rng = np.random.default_rng(0)
    with pod5.Writer(path) as writer:
        for number in range(6 * times):
            levels = rng.integers(300, 600, 10_000).repeat(10).astype(np.int16)
            writer.add_read(native_read(number, levels))
    return 6 * times * 100_000


def native_read(number: int, levels: np.ndarray) -> pod5.Read:
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    run = pod5.RunInfo(
        acquisition_id="a", acquisition_start_time=start, adc_max=4095, adc_min=-4096, context_tags={},
        experiment_name="", flow_cell_id="", flow_cell_product_code="", protocol_name="", protocol_run_id="",
        protocol_start_time=start, sample_id="", sample_rate=5000, sequencing_kit="", sequencer_position="",
        sequencer_position_type="", software="", system_name="", system_type="", tracking_id={},
    )  # fmt: skip
    return pod5.Read(
        read_id=UUID(int=number), pore=pod5.Pore(1, 1, "R10"), calibration=pod5.Calibration(-240.0, 0.15),
        read_number=number, start_sample=0, median_before=200.0, run_info=run, signal=levels,
        end_reason=pod5.EndReason(pod5.EndReasonEnum.SIGNAL_POSITIVE, False),
    )  # fmt: skip


def write_rows(path: Path, times: int) -> int:
    rng = np.random.default_rng(0)
    for part in range(times):
        frame = pd.DataFrame(rng.normal(size=(75_000, 4)).round(3), columns=list("abcd"))
        frame.to_csv(path, index=False, mode="a", header=part == 0)
    return times * 75_000 * 4


@pytest.mark.parametrize(
    ("source", "suffix", "write"),
    [
        ("type: pod5, window: {samples: 1024}", ".pod5", write_reads),
        ("type: table, window: {samples: 1024}, normalizer: {type: revin}", ".csv", write_rows),
    ],
)
def test_memory_does_not_grow_with_the_input(
    tmp_path: Path, source: str, suffix: str, write: Callable[[Path, int], int]
) -> None:
    files = {times: tmp_path / f"x{times}{suffix}" for times in (1, 10)}
    few, many = (write(path, times) for times, path in files.items())
    bound = (many - few) * 8 // 1024 // 2  # half of what the values alone would take
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {{{source}, workers: 0}}{CODEC}")
    train(config, [f"data.root={files[1]}"], tmp_path / "run", False, True)
    packing = [peak("compress", tmp_path / "run", path) for path in files.values()]
    assert packing[1] - packing[0] < min(bound, 0.1 * packing[0])
    packed = [path.with_name(path.name + ".acz") for path in files.values()]
    unpacking = [peak("decompress", path, "-o", tmp_path / "out") for path in packed]
    assert unpacking[1] - unpacking[0] < min(bound, 0.1 * unpacking[0])
