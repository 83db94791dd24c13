"""What the tests of sweeps share: a configuration, the command, and a look at what it wrote."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from anycodec.cli import app
from anycodec.workflows.sweeps import training

TRAINER = Path(__file__).with_name("sweep_trainer.py")
CONFIG = """
name: tiny
data: {type: array, layout: tc, workers: 0, root: data, window: {samples: 32}}
codec: {type: simvqgan, base_channels: 8, stem_stride: 2, channels: [8], strides: [2], res_blocks: 0,
        mid_blocks: 0, latent_channels: 8, norm_groups: 4, patch_skip: true,
        quantizer: {type: vq, codebook_size: 16}}
train: {steps: 20, batch_size: 4, val_every: 5, val_batches: 1, checkpoint_every: 5}
"""


def lay_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a configuration and its data, where trainings are those of sweep_trainer.py."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(training, "PROGRAM", (sys.executable, str(TRAINER)))
    monkeypatch.setenv("SWEEP_FATES", str(folder / "fates"))
    for name in ("data", "fates"):
        (folder / name).mkdir()
    values = np.random.default_rng(0).normal(size=(600, 2)).cumsum(axis=0)
    np.save(folder / "data" / "0.npy", values.astype(np.float32))
    (folder / "tiny.yaml").write_text(CONFIG)
    return folder


def anycodec(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def sweep(*words: object) -> Result:
    return anycodec("sweep", *words, "--out", "out")


def shown(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


def table() -> dict[str, dict[str, str]]:
    with Path("out/results.csv").open(newline="") as file:
        return {row["run"]: row for row in csv.DictReader(file)}


def give(**fates: str) -> None:
    """What shall become of the attempts of runs."""
    for name, fate in fates.items():
        (Path(os.environ["SWEEP_FATES"]) / name).write_text(fate)


def start(*words: str) -> subprocess.Popen[str]:
    """A sweep as a process of its own, its trainings as in the other tests."""
    program = (
        "import sys; from anycodec.workflows.sweeps import training; "
        f"training.PROGRAM = (sys.executable, {str(TRAINER)!r}); "
        "from anycodec.cli import main; main()"
    )
    command = [sys.executable, "-c", program, "sweep", *words, "--out", "out"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def at_step(name: str, step: int) -> bool:
    checkpoint = Path("out/runs") / name / "checkpoint"
    return checkpoint.exists() and checkpoint.read_text() == str(step)
