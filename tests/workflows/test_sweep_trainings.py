"""`anycodec sweep` with real trainings: one killed, one that can't work yet, and one by SLURM's script."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anycodec.checkpoint import RunDirectory
from anycodec.workflows.sweeps import training
from anycodec.workflows.sweeps.state import load_state
from workflows.sweep_runs import TRAINER, lay_out, shown, sweep, table

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = training.PROGRAM
    lay_out(tmp_path, monkeypatch)
    monkeypatch.setattr(training, "PROGRAM", program)
    return tmp_path


def test_one_is_killed_and_one_can_not_work_yet(working: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (working / "other").mkdir()
    (working / "other" / "0.npy").write_bytes(b"not an array")
    usual, killed = training.Training.poll, []

    def poll(self: training.Training) -> int | None:
        if self.job.name == "tiny-root_data" and not killed and self.follower.update().step >= 10:
            os.kill(self._process.pid, signal.SIGKILL)
            killed.append(self._process.pid)
        return usual(self)

    monkeypatch.setattr(training.Training, "poll", poll)
    words = ("train.log_every=1", "train.steps=40", "--grid", "data.root=data,other", "--slots", 2)
    done = sweep("tiny.yaml", *words)
    assert done.exit_code == 2, done.output
    data, other = (table()[f"tiny-root_{name}"] for name in ("data", "other"))
    assert (data["state"], data["attempts"], data["steps"]) == ("done", "2", "40")
    assert (other["state"], other["attempts"]) == ("failed", "2")
    assert "not an array" in other["note"] or "no usable" in other["note"]
    assert [attempt.how for attempt in load_state(Path("out/sweep.json")).jobs[0].attempts] == [
        "SIGKILL",
        "exit code 0",
    ]
    shutil.copy("data/0.npy", "other/0.npy")
    assert sweep("--resume").exit_code == 0
    other = table()["tiny-root_other"]
    assert (other["state"], other["attempts"]) == ("done", "3")
    assert RunDirectory(Path("out/runs/tiny-root_other")).fingerprint()


def test_slurm_trains_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written = sweep("tiny.yaml", "--grid", "seed=0,1,2", "--slurm", "--slots", 2)
    assert written.exit_code == 0, written.output
    script = Path("out/sweep.sbatch").resolve()
    assert f"next: sbatch {script}" in shown(written)
    text = script.read_text()
    assert "#SBATCH --array=0-2%2\n" in text
    assert "--gpus" not in text
    assert not list(Path("out/runs").iterdir())
    environment = os.environ | {"SLURM_ARRAY_TASK_ID": "1", "SLURM_CPUS_PER_TASK": "1"}
    subprocess.run(["bash", str(script)], env=environment, cwd="/", check=True, capture_output=True)
    # what the array job trained is taken over, the rest is trained here
    monkeypatch.setattr(training, "PROGRAM", (sys.executable, str(TRAINER)))
    assert sweep("--resume").exit_code == 0
    assert {name: (row["state"], row["attempts"]) for name, row in table().items()} == {
        "tiny-seed_0": ("done", "1"), "tiny-seed_1": ("done", "0"), "tiny-seed_2": ("done", "1")
    }  # fmt: skip
    assert RunDirectory(Path("out/runs/tiny-seed_1")).spec().seed == 1
