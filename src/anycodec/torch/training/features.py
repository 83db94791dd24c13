"""Train a feature network on the data itself."""

from __future__ import annotations

import logging
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from anycodec.engine import FeaturesJob, FeaturesResult
from anycodec.torch.device import out_of_memory
from anycodec.torch.features.objectives import FeatureModel
from anycodec.torch.parallel import group
from anycodec.torch.parallel.batchnorm import join_batch_norms
from anycodec.torch.parallel.gradients import gradient_mean
from anycodec.torch.parallel.place import Place, find_place
from anycodec.torch.parallel.team import together
from anycodec.torch.quantizers.ranks import apart
from anycodec.torch.training.batch import Labelled, moved, windows_of
from anycodec.torch.training.batches import TrainBatches, validation_batches
from anycodec.torch.training.loop import save_weights
from anycodec.torch.training.module import adamw, require_finite
from anycodec.torch.training.schedule import seek
from anycodec.torch.training.state import load_state, save_state
from anycodec.training.csvlog import CsvLog
from anycodec.training.progress import ProgressBar
from anycodec.training.schedule import schedule_factor
from anycodec.training.sharing import effective
from anycodec.training.stop import StopRequest, Terminated

log = logging.getLogger("anycodec.train")
_JUDGE = 1
"""Seed of the augmentation in validations: always the same."""


class FeaturesTraining:
    """A feature network between two steps of its training.

    Args:
        job: what is trained, and where it goes.
        device: where.
    """

    def __init__(self, job: FeaturesJob, device: torch.device) -> None:
        self.job = job
        self.spec = job.spec.train
        self.device = device
        torch.manual_seed(job.spec.seed)
        self.model = FeatureModel(job.spec.features, job.shape, len(job.classes)).to(self.device)
        join_batch_norms(self.model)
        groups = [{"params": list(self.model.parameters()), "lr": self.spec.optimizer.lr}]
        self.optimizer = adamw(groups, self.spec.optimizer)
        self.mean = gradient_mean(self.model.parameters())
        self.schedule = LambdaLR(self.optimizer, schedule_factor(self.spec))
        self.random = torch.Generator().manual_seed(job.spec.seed)
        self.step = 0
        self.best: float | None = None
        self.best_step = 0

    def resume(self, state: dict[str, Any] | None) -> None:
        """Go on from the run's resumable state, where there is one."""
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
        group.own_noise(self.job.spec.seed, self.step, generator=self.random)
        terms = self.model.terms(*batch, self.random)
        self.optimizer.zero_grad()
        if self.mean:
            self.mean.expect()
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        if self.mean:
            self.mean.finish()
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
    place = find_place(job.spec.train, divides=False)
    with together(place):
        if not place.alone:
            group.tell(replace(job, quiet=True))
        return train_here(job, place)


def train_here(job: FeaturesJob, place: Place) -> FeaturesResult:
    """Train together with the other processes, which are there already; see `train_features`."""
    spec = job.spec.train
    torch.set_num_threads(place.threads(spec.threads))
    with out_of_memory("features.network", "lower its widths, or train.batch_size"):
        training = FeaturesTraining(job, place.device(spec.device))
        if job.resume:
            training.resume(group.tell(load_state(job.run) if place.rank == 0 else None))
        judged = [_here(b, training) for b in _validation(job)] if place.rank == 0 else []
        stop = StopRequest()
        with stop, closing(job.train):
            _loop(training, judged, stop)
    if stop.number is not None:
        raise Terminated(stop.number)
    metric = training.model.objective.metric
    return FeaturesResult(training.step, f"val/{metric}", training.best or 0.0, training.best_step)


def _loop(training: FeaturesTraining, judged: list[Labelled], stop: StopRequest) -> None:
    job, spec = training.job, training.spec
    watch = _Watch(training, judged)
    share = (group.rank(), group.size())
    batches = iter(
        TrainBatches(job.train, job.spec.data, spec.batch_size, training.step, labelled=True, share=share)
    )
    stop.listen()
    watch.bar.start()
    try:
        while training.step < spec.steps and not group.asked(stop, training.step, spec.log_every):
            watch.after(training.train_step(_here(next(batches), training)))
        if stop.number is not None and group.rank() == 0:
            training.save()
    finally:
        watch.bar.stop()
        batches.close()


class _Watch:
    """What hangs on the number of steps: figures, validations, checkpoints. The first process writes them.

    Args:
        training: what is watched.
        judged: validation batches.
    """

    def __init__(self, training: FeaturesTraining, judged: list[Labelled]) -> None:
        job, self.spec = training.job, training.spec
        self.training, self.judged = training, judged
        self.csv = CsvLog(job.run.metrics, training.step) if group.rank() == 0 else None
        self.bar = ProgressBar(self.spec.steps, training.step, job.quiet)
        self.bar.line(f"batch: {effective(self.spec, 1, group.size())}")

    def after(self, figures: dict[str, Tensor]) -> None:
        """A step is done."""
        step, spec = self.training.step, self.spec
        last = step == spec.steps
        self.bar.advance(step)
        if step % spec.log_every == 0 or last:
            figures = group.means(figures)
            require_finite(figures, step)
            self._write(step, {f"train/{name}": float(value) for name, value in figures.items()})
        if group.rank():
            return
        if step % spec.val_every == 0 or last:
            with apart():
                found = self.training.validate(self.judged)
            self._write(step, found)
            text = f"step {step}" + "".join(f"  {name} {value:.4g}" for name, value in found.items())
            self.bar.line(text)
            log.info(text)
        if step % spec.checkpoint_every == 0 or last:
            self.training.save()

    def _write(self, step: int, figures: dict[str, float]) -> None:
        if self.csv is not None:
            self.csv.write(step, figures)


def _validation(job: FeaturesJob) -> list[Any]:
    """Batches of the validation windows; one window alone has no variance."""
    spec = job.spec.train
    found = validation_batches(job.val, job.spec.data, spec.batch_size, spec.val_batches, labelled=True)
    return [batch for batch in found if len(windows_of(batch)) > 1] or found


def _here(batch: Any, training: FeaturesTraining) -> Labelled:
    found = moved(batch, training.device)
    assert isinstance(found, Labelled)
    return found
