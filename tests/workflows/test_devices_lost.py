"""Processes of one training that die, and processes that a launcher starts."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anycodec.checkpoint import RunDirectory, read_arrays
from anycodec.workflows import samples

CONFIG = """\
data: {type: pod5, window: {samples: 96}, workers: 0}
codec:
  type: simvqgan
  base_channels: 8
  stem_stride: 4
  channels: [8]
  strides: [2]
  latent_channels: 8
  norm_groups: 4
  quantizer: {type: vq, codebook_size: 16}
train: {batch_size: 4, val_every: 1000, val_batches: 1, log_every: 1, device: cpu, threads: 1}
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("reads")
    samples.run("nanopore", folder / "data", seed=1, size="small")
    (folder / "tiny.yaml").write_text(CONFIG)
    return ["anycodec", "train", str(folder / "tiny.yaml"), f"data.root={folder / 'data'}", "--quiet"]


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def helper_of(process: subprocess.Popen[str], run: Path) -> int:
    """The other process of a training that has done its first step."""
    deadline = time.monotonic() + 120
    metrics = RunDirectory(run).metrics
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.is_file() and len(metrics.read_text().splitlines()) > 1:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            return next(pid for pid in map(int, children) if "helper" in command(pid))
        time.sleep(0.05)
    raise AssertionError("the training did not start")


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            state = re.search(r"State:\s+(\w)", Path(f"/proc/{pid}/status").read_text())
        except FileNotFoundError:
            return True
        if state and state[1] == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_a_process_that_is_killed_ends_the_training_with_its_name(words: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start([*words, "--devices", "2", "--steps", "100000", "--out", str(run)])
    os.kill(helper_of(process, run), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "error: process 1 of 2 was killed (SIGKILL)" in errors
    assert "--resume" in errors
    assert "Traceback" not in errors


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_no_process_outlives_the_first(words: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start([*words, "--devices", "2", "--steps", "100000", "--out", str(run)])
    helper = helper_of(process, run)
    process.kill()
    process.wait()
    assert gone(helper)


def test_torchrun_starts_the_processes(words: list[str], tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = tmp_path / "run"
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port), "-m"]
    process = start([*launcher, *words, "--strategy", "ddp", "--steps", "12", "--out", str(run)])
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert RunDirectory(run).read_manifest()["training"]["steps"] == 12
    assert read_arrays(run / "weights.safetensors")
