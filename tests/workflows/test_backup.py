"""Runs that are mirrored while they train, and brought back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from anycodec.errors import Notice, RunError
from anycodec.workflows import backup, samples, statistics
from anycodec.workflows import train as workflow
from anycodec.workflows.checkpoint_files import CheckpointFiles, HeldFile
from anycodec.workflows.train import run as train
from workflows.test_training import rows

STATES = {"torch": "resume/state.pt", "jax": "resume/state.safetensors"}
CONFIG = """\
name: tiny
data: {type: pod5, window: {samples: 96}, workers: 0}
codec:
  type: simvqgan
  base_channels: 8
  stem_stride: 4
  channels: [8]
  strides: [2]
  res_blocks: 1
  mid_blocks: 0
  latent_channels: 8
  norm_groups: 4
  quantizer: {type: ema, codebook_size: 16, restart_after: 2, kmeans_after: 2}
train:
  steps: 9
  batch_size: 4
  ema: 0.9
  val_every: 2
  val_batches: 1
  checkpoint_every: 2
  log_every: 1
  device: cpu
  threads: 1
"""
KILLED = """
import os, signal, sys, threading
from pathlib import Path
from anycodec.workflows.backup import Backup
from anycodec.workflows.checkpoint_files import HeldFile
from anycodec.workflows.train import run as train

write, take, states, first = HeldFile.write_to, Backup.take, [], threading.Event()

def writing(file, path):
    write(file, path)
    if file.name.startswith("resume/"):
        states.append(path)
        if len(states) == 2:
            path.write_bytes(path.read_bytes()[:100])
            os.kill(os.getpid(), signal.SIGKILL)
    if file.name == "config.yaml":
        first.set()

def taking(mirror):
    if first.is_set():
        take(mirror)
        threading.Event().wait()
    take(mirror)
    first.wait()

HeldFile.write_to, Backup.take = writing, taking
train(Path(sys.argv[1]), sys.argv[3:], Path(sys.argv[2]), False, True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backup")
    samples.run("nanopore", path / "data", seed=1, size="small")
    (path / "tiny.yaml").write_text(CONFIG)
    return path


@pytest.fixture(autouse=True)
def quick(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_CACHE_DIR", str(folder / "xla"))
    monkeypatch.setattr(statistics, "MOST_VALUES", 2**12)
    monkeypatch.setattr(backup, "RETRY_SECONDS", 0.01)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Callable[[str], Path]:
    """The run of an engine that nothing interrupted and nobody mirrored."""

    def made(engine: str) -> Path:
        run = folder / f"whole-{engine}"
        if not run.exists():
            go(folder, run, f"engine={engine}")
        return run

    return made


def go(folder: Path, run: Path, *overrides: str, resume: bool = False) -> None:
    train(folder / "tiny.yaml", [f"data.root={folder / 'data'}", *overrides], run, resume, True)


def untimed(run: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "samples_per_second"} for row in rows(run)]


def assert_same_training(run: Path, whole: Path) -> None:
    for name in ("weights.safetensors", "statistics.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert untimed(run) == untimed(whole)


def blocked_copies(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, list[str]]:
    """Copies that begin but don't end before the event; the names of what was begun."""
    usual, free, begun = HeldFile.write_to, threading.Event(), []

    def slow(file: HeldFile, path: Path) -> None:
        begun.append(file.name)
        assert free.wait(60)
        usual(file, path)

    monkeypatch.setattr(HeldFile, "write_to", slow)
    return free, begun


@pytest.mark.parametrize("engine", STATES)
def test_training_does_not_wait_for_a_slow_destination(
    folder: Path,
    whole: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
) -> None:
    """The first copy is stuck until all steps are done; then the newest state follows, none between."""
    free, begun = blocked_copies(monkeypatch)
    usual = workflow.finish
    stuck: list[list[str]] = []

    def finish(*arguments: object) -> None:
        stuck.append(list(begun))
        free.set()
        usual(*arguments)

    run, there = tmp_path / "run", tmp_path / "slow" / "run"
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "finish", finish)
        go(folder, run, f"engine={engine}", f"train.backup_dir={there.parent}")
    assert [len(names) for names in stuck] == [1]
    assert begun.count(STATES[engine]) <= 3, "at steps 2, 9 and, if between finish and end, once more"
    assert untimed(there)[-1]["step"] == "9"
    assert_same_training(there, whole(engine))
    for path in ("config.yaml", "manifest.json", STATES[engine]):
        assert (there / path).read_bytes() == (run / path).read_bytes()


@pytest.mark.parametrize("engine", STATES)
def test_what_a_killed_training_had_mirrored_goes_on_to_the_same(
    folder: Path,
    whole: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    engine: str,
) -> None:
    """kill -9 while the second state is copied, at step 4, and the local disk lost."""
    run, there = tmp_path / "run", tmp_path / "far" / "run"
    settings = [f"data.root={folder / 'data'}", f"engine={engine}", f"train.backup_dir={there.parent}"]
    command = [sys.executable, "-c", KILLED, str(folder / "tiny.yaml"), str(run), *settings]
    assert subprocess.run(command, env=dict(os.environ), check=False).returncode == -signal.SIGKILL
    assert list((there / "resume").glob(".*")), "a file that was not finished, under another name"
    assert not (there / "statistics.safetensors").exists()
    shutil.rmtree(run)
    go(folder, run, *settings[1:], resume=True)
    assert f"is gone: brought back from {there}" in capsys.readouterr().out.replace("\n", "")
    assert_same_training(run, whole(engine))
    assert_same_training(there, whole(engine))
    assert not list(there.rglob(".*")), "what the killed copy left behind is removed"


def test_a_full_destination_is_warned_of_and_left_without_half_a_file(
    folder: Path,
    whole: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_disk: Path,
) -> None:
    run, there = tmp_path / "run", small_disk / "run"
    (small_disk / "filler").write_bytes(bytes(60 * 1024))
    with pytest.warns(Notice, match="is not complete: no space left on the disk while writing"):
        go(folder, run, f"train.backup_dir={small_disk}")
    assert_same_training(run, whole("torch"))
    assert not list(there.rglob(".*"))
    assert not (there / "config.yaml").exists(), "what is there is no run"


def test_a_failure_during_training_is_told_once_and_mended(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, broken, failed = HeldFile.write_to, [True], threading.Event()
    take, put_back = backup.Backup.take, backup.Backup._put_back

    def write(file: HeldFile, path: Path) -> None:
        if broken:
            raise OSError(5, "Input/output error")
        usual(file, path)

    def noted(mirror: backup.Backup, checkpoint: CheckpointFiles, error: OSError) -> None:
        put_back(mirror, checkpoint, error)
        failed.set()

    def taken(mirror: backup.Backup) -> None:
        """Every checkpoint after the first comes when a copy has failed."""
        take(mirror)
        assert failed.wait(60)

    monkeypatch.setattr(HeldFile, "write_to", write)
    monkeypatch.setattr(backup.Backup, "_put_back", noted)
    monkeypatch.setattr(backup.Backup, "take", taken)
    monkeypatch.setattr(workflow, "finish", lambda *_: broken.clear())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        go(folder, tmp_path / "run", f"train.backup_dir={tmp_path / 'far'}", "train.steps=6")
    told = [str(warning.message) for warning in caught if warning.category is Notice]
    assert len(told) == 1
    assert "can't be copied to" in told[0]
    assert "Input/output error" in told[0]
    assert (tmp_path / "far" / "run" / "config.yaml").is_file(), "the last attempt succeeded"


def test_places_that_can_not_hold_a_backup_are_refused_first(folder: Path, tmp_path: Path) -> None:
    far = tmp_path / "far"
    go(folder, tmp_path / "run", f"train.backup_dir={far}", "train.steps=2")
    with pytest.raises(RunError, match=r"already holds a run[\s\S]*far/run[\s\S]*--resume"):
        go(folder, tmp_path / "elsewhere" / "run", f"train.backup_dir={far}", "train.steps=2")
    with pytest.raises(RunError, match="the backup would be the run itself"):
        go(folder, tmp_path / "new", f"train.backup_dir={tmp_path}", "train.steps=2")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"the backup can't be written: not a directory[\s\S]*backup_dir"):
        go(folder, tmp_path / "new", f"train.backup_dir={tmp_path / 'file'}", "train.steps=2")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(RunError, match=r"started with other settings: codec.latent_channels was 8, now 9"):
        go(folder, tmp_path / "run", f"train.backup_dir={far}", "codec.latent_channels=9", resume=True)
    assert not (tmp_path / "new").exists()


def test_another_engine_leaves_one_state_in_the_backup(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    far = tmp_path / "far"
    go(folder, tmp_path / "run", f"train.backup_dir={far}", "train.steps=2")
    go(folder, tmp_path / "run", f"train.backup_dir={far}", "train.steps=4", "engine=jax", resume=True)
    assert [path.name for path in (far / "run" / "resume").iterdir()] == ["state.safetensors"]
