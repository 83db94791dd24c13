"""Train a prior: the networks of all levels at once, on tokens drawn at random."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from anycodec.engine import Best, PriorExamples, PriorJob, TrainingResult
from anycodec.processors import threads
from anycodec.torch.device import choose_device, out_of_memory
from anycodec.torch.priors.network import LevelPrior, real_arrays
from anycodec.torch.training.module import adamw, require_finite
from anycodec.torch.training.schedule import seek
from anycodec.torch.training.state import load_state, save_state
from anycodec.training.csvlog import CsvLog
from anycodec.training.progress import ProgressBar
from anycodec.training.schedule import schedule_factor
from anycodec.training.stop import StopRequest, Terminated

log = logging.getLogger("anycodec.train")
METRIC = "val/bits"
_JUDGED = 2**12
"""Tokens of a validation that are computed at once."""


class PriorTraining:
    """A prior between two steps of its training.

    Args:
        job: what is trained, and where it goes.
    """

    def __init__(self, job: PriorJob) -> None:
        self.job, self.spec = job, job.spec.train
        self.device = choose_device(self.spec.device)
        torch.manual_seed(job.spec.seed)
        self.levels = nn.ModuleList(LevelPrior(level, job.spec.prior) for level in job.levels)
        self.levels.to(self.device)
        groups = [{"params": list(self.levels.parameters()), "lr": self.spec.optimizer.lr}]
        self.optimizer = adamw(groups, self.spec.optimizer)
        self.schedule = LambdaLR(self.optimizer, schedule_factor(self.spec))
        self.random = torch.Generator().manual_seed(job.spec.seed)
        self.step = 0
        self.best: Best | None = None
        self.seconds = self.waited = 0.0

    def restore(self) -> None:
        """Go on from the run's resumable state, where there is one."""
        state = load_state(self.job.run)
        if state is None:
            return
        self.levels.load_state_dict(state["levels"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.set_state(state["random"])
        torch.set_rng_state(state["dropout"])
        self.step, self.best = state["step"], state["best"]
        seek(self.schedule, self.step)

    def save(self) -> None:
        """Replace the resumable state."""
        state: dict[str, Any] = {
            "levels": self.levels.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "dropout": torch.get_rng_state(),
            "step": self.step,
            "best": self.best,
        }
        save_state(self.job.run, state)

    def train_step(self) -> dict[str, Tensor]:
        """One update; bits a token of each level."""
        figures = {}
        self.levels.train()
        self.optimizer.zero_grad()
        for number in range(len(self.levels)):
            begin = time.perf_counter()
            rows = torch.randint(
                self.job.train.count(number), (self.spec.batch_size,), generator=self.random
            ).numpy()
            batch = self._batch(self.job.train, number, rows)
            self.waited += time.perf_counter() - begin
            bits = self._level(number).bits(*batch)
            bits.backward()  # type: ignore[no-untyped-call]
            figures[f"train/bits_{number}"] = bits.detach()
        self.optimizer.step()
        self.step += 1
        seek(self.schedule, self.step)
        return figures

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Bits a token; keeps the weights if they were never as good."""
        self.levels.eval()
        figures, tokens = {}, 0
        total = 0.0
        for number in range(len(self.levels)):
            count = self.job.val.count(number)
            rows = np.linspace(0, count - 1, min(count, self.spec.val_tokens)).astype(np.int64)
            sums = 0.0
            for start in range(0, len(rows), _JUDGED):
                part = rows[start : start + _JUDGED]
                batch = self._batch(self.job.val, number, part)
                sums += float(self._level(number).bits(*batch)) * len(part)
            figures[f"val/bits_{number}"] = sums / len(rows)
            total += sums / len(rows) * count
            tokens += count
        figures[METRIC] = total / tokens
        if self.best is None or figures[METRIC] < self.best["value"]:
            self.best = Best(value=figures[METRIC], step=self.step)
            self.job.keep([real_arrays(self._level(number)) for number in range(len(self.levels))])
        return figures

    def _level(self, number: int) -> LevelPrior:
        level = self.levels[number]
        assert isinstance(level, LevelPrior)
        return level

    def _batch(self, examples: PriorExamples, level: int, rows: Any) -> list[Tensor]:
        return [torch.from_numpy(part).to(self.device) for part in examples.batch(level, rows)]


def train_prior(job: PriorJob) -> TrainingResult:
    """Run a training to its last step or a stop signal; see `anycodec.engine.Engine.train_prior`."""
    spec = job.spec.train
    torch.set_num_threads(spec.threads or threads())
    with out_of_memory("prior", "lower its width, or train.batch_size"):
        training = PriorTraining(job)
        if job.resume:
            training.restore()
        stop = StopRequest()
        with stop:
            _loop(training, stop)
    if stop.number is not None:
        raise Terminated(stop.number)
    busy = max(training.seconds, 1e-9)
    tokens = spec.batch_size * len(job.levels) * training.step
    return TrainingResult(
        steps=training.step,
        bests={} if training.best is None else {METRIC: training.best},
        seconds=training.seconds,
        data_wait=min(1.0, training.waited / busy),
        samples_per_second=tokens / busy,
    )


def _loop(training: PriorTraining, stop: StopRequest) -> None:
    job, spec = training.job, training.spec
    csv = CsvLog(job.run.metrics, training.step)
    bar = ProgressBar(spec.steps, training.step, job.quiet)
    stop.listen()
    bar.start()
    begin = time.perf_counter()
    try:
        while training.step < spec.steps and stop.number is None:
            figures = training.train_step()
            step, last = training.step, training.step == spec.steps
            bar.advance(step)
            if step % spec.log_every == 0 or last:
                require_finite(figures, step)
                csv.write(step, {name: float(value) for name, value in figures.items()})
            if step % spec.val_every == 0 or last:
                found = training.validate()
                csv.write(step, found)
                text = f"step {step}" + "".join(f"  {name} {value:.4f}" for name, value in found.items())
                bar.line(text)
                log.info(text)
            if step % spec.checkpoint_every == 0 or last or stop.number is not None:
                training.save()
    finally:
        training.seconds += time.perf_counter() - begin
        bar.stop()
