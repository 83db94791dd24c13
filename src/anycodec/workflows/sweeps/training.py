"""A training as a process of its own."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from anycodec.checkpoint import RunDirectory
from anycodec.config.kinds import CODEC
from anycodec.workflows.sweeps.folder import SweepFolder
from anycodec.workflows.sweeps.follow import Follower
from anycodec.workflows.sweeps.kinds import load_trained
from anycodec.workflows.sweeps.launch import Launch
from anycodec.workflows.sweeps.slots import Slot
from anycodec.workflows.sweeps.state import Attempt, Job

PROGRAM = (sys.executable, "-m", "anycodec.workflows.sweeps.child")
"""`anycodec`, which ends with the sweep."""
_LOG_TAIL = 4096
"""Bytes of a log that are searched for an error."""


class Training:
    """`anycodec train` of one run in a slot; continues what an earlier attempt left.

    Args:
        job: the run.
        slot: where it runs.
        folder: of the sweep, absolute.
        working: what its relative paths are relative to.
        metric: column of metrics.csv to follow.
        launch: starts the process.
    """

    def __init__(
        self, job: Job, slot: Slot, folder: SweepFolder, working: str, metric: str, *, launch: Launch
    ) -> None:
        self.job, self.slot = job, slot
        self.attempt = Attempt(slot=slot.name, began=round(time.time(), 3))
        job.attempts.append(self.attempt)
        train = load_trained(folder.config(job.name), check_paths=False).train
        self.steps = train.steps
        self.follower = Follower(RunDirectory(folder.run(job.name)).metrics, metric)
        self._log = folder.log(job.name)
        self._start = self._log.stat().st_size if self._log.exists() else 0
        command = train_command(job.name, folder, None if train.threads else slot.threads)
        _note_start(command, self._log, slot)
        self._process = launch([*PROGRAM, *command], slot, self._log, working)

    @property
    def seconds(self) -> float:
        """How long this attempt has run."""
        return max(0.0, time.time() - self.attempt.began)

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        code = self._process.poll()
        if code is not None and self.attempt.code is None:
            self.attempt.code, self.attempt.seconds = code, round(self.seconds, 3)
            self._process.close()
        return code

    def stop(self) -> None:
        """Ask it to write a checkpoint and leave; see `anycodec.workflows.sweeps.child`."""
        if self._process.poll() is None:
            self.attempt.stopped = True
        self._process.close()

    def kill(self) -> None:
        """End it now, with the processes that read its data."""
        self.attempt.stopped = True
        self._process.kill()

    def complaint(self) -> str:
        """What it said of its error: the last such line of this attempt's log."""
        with self._log.open("rb") as file:
            file.seek(max(self._start, self._log.stat().st_size - _LOG_TAIL))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
        errors = [line for line in lines if line.startswith("error: ")]
        return errors[-1].removeprefix("error: ") if errors else next((x for x in reversed(lines) if x), "")


def train_command(name: str, folder: SweepFolder, threads: int | None) -> list[str]:
    """The words of `anycodec train` for a run, which go on where an earlier attempt stopped."""
    run = RunDirectory(folder.run(name))
    words = ["train", str(folder.config(name)), "--out", str(run.path)]
    words += ["--resume"] if run.config.is_file() else []
    return words + ([f"train.threads={threads}"] if threads else [])


def _note_start(words: Sequence[str], log: Path, slot: Slot) -> None:
    """Head the part of an attempt in a run's log."""
    shown = " ".join(f"{key}={value}" for key, value in slot.environment().items())
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    with log.open("ab") as file:
        file.write(f"--- {stamp}, {slot.name}: {shown} anycodec {shlex.join(words)}\n".encode())


def finished(run: RunDirectory) -> bool:
    """Whether a training came to its end, with all the weights that it keeps."""
    if "training" not in run.read_manifest():
        return False
    kept = run.spec().train.keep_best if run.kind() is CODEC else ()
    return all("training" in run.best(metric).read_manifest() for metric in kept)
