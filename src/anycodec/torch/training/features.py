"""Train a feature network on the data itself."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from contextlib import closing
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from anycodec.engine import FeaturesJob, FeaturesResult
from anycodec.torch.device import choose_device, out_of_memory
from anycodec.torch.features.objectives import FeatureModel
from anycodec.torch.training.batch import Labelled, moved, windows_of
from anycodec.torch.training.batches import TrainBatches, validation_batches
from anycodec.torch.training.loop import save_weights
from anycodec.torch.training.module import adamw, require_finite
from anycodec.torch.training.schedule import seek
from anycodec.torch.training.state import load_state, save_state
from anycodec.training.csvlog import CsvLog
from anycodec.training.progress import ProgressBar
from anycodec.training.schedule import schedule_factor
from anycodec.training.stop import StopRequest, Terminated

log = logging.getLogger("anycodec.train")
_JUDGE = 1
"""Seed of the augmentation in validations: always the same."""


class FeaturesTraining:
    """A feature network between two steps of its training.

    Args:
        job: what is trained, and where it goes.
    """

    def __init__(self, job: FeaturesJob) -> None:
        self.job = job
        self.spec = job.spec.train
        self.device = choose_device(self.spec.device)
        torch.manual_seed(job.spec.seed)
        self.model = FeatureModel(job.spec.features, job.shape, len(job.classes)).to(self.device)
        groups = [{"params": list(self.model.parameters()), "lr": self.spec.optimizer.lr}]
        self.optimizer = adamw(groups, self.spec.optimizer)
        self.schedule = LambdaLR(self.optimizer, schedule_factor(self.spec))
        self.random = torch.Generator().manual_seed(job.spec.seed)
        self.step = 0
        self.best: float | None = None
        self.best_step = 0

    def resume(self) -> None:
        """Go on from the run's resumable state, where there is one."""
        state = load_state(self.job.run)
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.set_state(state["random"])
        self.step, self.best, self.best_step = state["step"], state["best"], state["best_step"]
        seek(self.schedule, self.step)

    def save(self) -> None:
        """Replace the resumable state."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.get_state(),
            "step": self.step,
            "best": self.best,
            "best_step": self.best_step,
        }
        save_state(self.job.run, state)

    def train_step(self, batch: Labelled) -> dict[str, Tensor]:
        """One update; its figures."""
        self.model.train()
        terms = self.model.terms(*batch, self.random)
        self.optimizer.zero_grad()
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        seek(self.schedule, self.step)
        return {name: term.detach() for name, term in terms.items()}

    @torch.no_grad()
    def validate(self, batches: list[Labelled]) -> dict[str, float]:
        """Means over the validation windows; keeps the weights if they were never as good."""
        self.model.eval()
        random = torch.Generator().manual_seed(_JUDGE)
        sums: defaultdict[str, float] = defaultdict(float)
        for batch in batches:
            for name, term in self.model.terms(*batch, random).items():
                sums[name] += float(term) * len(batch.labels)
        count = sum(len(batch.labels) for batch in batches)
        figures = {f"val/{name}": total / count for name, total in sums.items()}
        self._keep(figures[f"val/{self.model.objective.metric}"])
        return figures

    def _keep(self, value: float) -> None:
        """Store the weights if the deciding figure was never as good."""
        sign = 1 if self.model.objective.more_is_better else -1
        if self.best is None or sign * (value - self.best) > 0:
            self.best, self.best_step = value, self.step
            save_weights(self.model, self.job.run.weights)


def train_features(job: FeaturesJob) -> FeaturesResult:
    """Run a training to its last step or a stop signal; see `anycodec.engine.Engine.train_features`."""
    spec = job.spec.train
    torch.set_num_threads(spec.threads or os.cpu_count() or 1)
    with out_of_memory("features.network", "lower its widths, or train.batch_size"):
        training = FeaturesTraining(job)
        if job.resume:
            training.resume()
        judged = [_here(b, training) for b in _validation(job)]
        stop = StopRequest()
        with stop, closing(job.train):
            _loop(training, judged, stop)
    if stop.number is not None:
        raise Terminated(stop.number)
    assert training.best is not None
    metric = training.model.objective.metric
    return FeaturesResult(training.step, f"val/{metric}", training.best, training.best_step)


def _loop(training: FeaturesTraining, judged: list[Labelled], stop: StopRequest) -> None:
    job, spec = training.job, training.spec
    csv = CsvLog(job.run.metrics, training.step)
    bar = ProgressBar(spec.steps, training.step, job.quiet)
    batches = iter(TrainBatches(job.train, job.spec.data, spec.batch_size, training.step, labelled=True))
    stop.listen()
    bar.start()
    try:
        while training.step < spec.steps and stop.number is None:
            figures = training.train_step(_here(next(batches), training))
            step, last = training.step, training.step == spec.steps
            bar.advance(step)
            if step % spec.log_every == 0 or last:
                require_finite(figures, step)
                csv.write(step, {f"train/{name}": float(value) for name, value in figures.items()})
            if step % spec.val_every == 0 or last:
                found = training.validate(judged)
                csv.write(step, found)
                text = f"step {step}" + "".join(f"  {name} {value:.4g}" for name, value in found.items())
                bar.line(text)
                log.info(text)
            if step % spec.checkpoint_every == 0 or last or stop.number is not None:
                training.save()
    finally:
        bar.stop()
        batches.close()


def _validation(job: FeaturesJob) -> list[Any]:
    """Batches of the validation windows; one window alone has no variance."""
    spec = job.spec.train
    found = validation_batches(job.val, job.spec.data, spec.batch_size, spec.val_batches, labelled=True)
    return [batch for batch in found if len(windows_of(batch)) > 1] or found


def _here(batch: Any, training: FeaturesTraining) -> Labelled:
    found = moved(batch, training.device)
    assert isinstance(found, Labelled)
    return found
