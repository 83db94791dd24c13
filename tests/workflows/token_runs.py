"""What the tests of token sets share: a tiny run on arrays, and executors that run here or die on purpose."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anycodec.workflows.shards.executor import Event, Executor, Job, Progress, Report, Work
from anycodec.workflows.shards.local import LocalExecutor
from anycodec.workflows.shards.manifest import ShardRecord
from anycodec.workflows.shards.plan import Task
from anycodec.workflows.train import run as train

CONFIG = """
name: arrays
data: {{type: array, layout: tc, workers: 0, root: {root}, window: {{samples: 32, overlap: 4}},
       normalizer: {{type: median_mad}}}}
codec:
  {{type: simvqgan, base_channels: 8, stem_stride: 2, channels: [8], strides: [2], res_blocks: 0,
   mid_blocks: 0, latent_channels: 8, patch_skip: true, quantizer: {quantizer}}}
train: {{steps: 2, batch_size: 4, val_every: 2, val_batches: 1, threads: 1}}
"""
VQ = "{type: vq, codebook_size: 16}"
SHARD = 8_000
"""Bytes: three files of `write_arrays`."""


def write_arrays(folder: Path, count: int = 10) -> list[Path]:
    """Walks in two channels, 300 samples and more, in two sub-folders."""
    rng = np.random.default_rng(0)
    files = [folder / f"part{number % 2}" / f"{number}.npy" for number in range(count)]
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        walk = np.cumsum(rng.normal(size=(300 + number, 2)), axis=0)
        np.save(file, walk.astype(np.float32))
    return files


def train_arrays(folder: Path, quantizer: str = VQ) -> Path:
    """A run on the arrays of `folder/data`."""
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(root=folder / "data", quantizer=quantizer))
    train(config, [], folder / "run", False, True)
    return folder / "run"


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, hidden files too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


class Inline(Executor):
    """Runs tasks in this process."""

    def run(self, job: Job, tasks: Sequence[Task]) -> Generator[Event, None, None]:
        work = job.open()
        for task in tasks:
            yield work(task, lambda _: None)


@dataclass(frozen=True)
class DeadlyJob:
    """A job whose worker kills with SIGKILL when it comes to a file, as long as `lives` holds files.

    Attributes:
        job: the job proper.
        source: the file.
        victim: "worker", or "driver": its parent.
        lives: folder with a file for each death to come.
    """

    job: Job
    source: str
    victim: str
    lives: Path

    def open(self) -> Work:
        work = self.job.open()

        def dangerous(task: Task, report: Report) -> ShardRecord:
            def tell(progress: Progress) -> None:
                report(progress)
                if progress.source == self.source and not progress.files:
                    self._strike()

            return work(task, tell)

        return dangerous

    def clear(self, shard: int) -> None:
        self.job.clear(shard)

    def _strike(self) -> None:
        for life in sorted(self.lives.iterdir())[:1]:
            life.unlink()
            driver = os.getppid()
            os.kill(os.getpid() if self.victim == "worker" else driver, signal.SIGKILL)
            while os.getppid() == driver:
                time.sleep(0.01)


class Deadly(LocalExecutor):
    """Local workers that meet a `DeadlyJob`."""

    def __init__(self, workers: int, source: str, victim: str, lives: Path) -> None:
        super().__init__(workers)
        self._danger = source, victim, lives

    def run(self, job: Job, tasks: Sequence[Task]) -> Generator[Event, None, None]:
        return super().run(DeadlyJob(job, *self._danger), tasks)


def lives(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / str(number)).touch()
    return folder
