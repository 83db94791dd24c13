"""What happens around each step: logging, validation, checkpoints, the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from anycodec.config.run import RunSpec
from anycodec.jax.training.contest import Phase, Scalars, Strength
from anycodec.jax.training.networks import TrainState, Tree
from anycodec.jax.training.step import Now, Step
from anycodec.training.csvlog import CsvLog
from anycodec.training.figures import summary
from anycodec.training.finite import require_finite
from anycodec.training.progress import ProgressBar
from anycodec.training.schedule import schedule_factor
from anycodec.training.standing import Progress, praise
from anycodec.training.stop import StopRequest
from anycodec.training.timeline import Timeline
from anycodec.training.trackers import Tracker

log = logging.getLogger("anycodec.train")

RIVAL = (
    "adaptive_weight",
    "gradient_ratio",
    "discriminator",
    "gradient_penalty",
    "logits_real",
    "logits_fake",
)
"""Figures of the discriminator's side, which are shown until they change."""


class Controls:
    """What a step is told, as pure functions of its number (0 = the first update)."""

    def __init__(self, spec: RunSpec) -> None:
        train, rival = spec.train, spec.adversarial
        self._peak, self._factor = train.optimizer.lr, schedule_factor(train)
        self.timeline = Timeline(rival, train.steps) if rival else None
        if rival and self.timeline:
            self._rival_peak = rival.optimizer.lr
            span = max(1, train.steps - self.timeline.first)
            own = {"optimizer": rival.optimizer, "schedule": rival.schedule, "steps": span}
            self._rival_factor = schedule_factor(train.model_copy(update=own))

    def lr(self, step: int) -> float:
        """The codec's learning rate."""
        return self._peak * self._factor(step)

    def phase(self, step: int) -> Phase:
        """Who hears whom."""
        if self.timeline is None:
            return Phase()
        return Phase(self.timeline.counts(step), self.timeline.trains(step))

    def now(self, step: int) -> Now:
        """The numbers of a step."""
        rival_lr = ramp = noise = 0.0
        if self.timeline is not None:
            rival_lr = self._rival_peak * self._rival_factor(max(0, step - self.timeline.first))
            ramp, noise = self.timeline.ramp(step), self.timeline.noise(step)
        return Now(
            np.float32(self.lr(step)),
            np.float32(rival_lr),
            Strength(np.float32(ramp), np.float32(noise)),
            np.uint32(step),
        )


class Session:
    """Drives everything that hangs on the number of optimizer steps.

    Args:
        spec: the run's configuration.
        step: the compiled step.
        state: where it starts from.
        rival: the last figures of the discriminator's side.
        validate: figures of these parameters and buffers.
        keep: called with (parameters, buffers, metric) for each metric that improved.
        save: called with (state, the last figures of the discriminator's side).
        progress: where the training stands; updated in place.
        csv: metrics.csv, None where another process writes it.
        bar: the progress bar.
        trackers: what else gets figures.
        stop: asked after each step.
    """

    def __init__(
        self,
        *,
        spec: RunSpec,
        step: Step,
        state: TrainState,
        rival: Mapping[str, float],
        validate: Callable[[Tree, Tree], dict[str, float]],
        keep: Callable[[Tree, Tree, str], None],
        save: Callable[[TrainState, Mapping[str, float]], None],
        progress: Progress,
        csv: CsvLog | None,
        bar: ProgressBar,
        trackers: list[Tracker],
        stop: StopRequest,
    ) -> None:
        self.spec, self.train = spec, spec.train
        self.step, self.state = step, state
        self.validate, self.keep, self.save = validate, keep, save
        self.progress, self.csv, self.bar, self.trackers, self.stop = progress, csv, bar, trackers, stop
        self.controls = Controls(spec)
        self.values_done = 0
        self.seconds = 0.0
        self._begin: float | None = None
        self._rival = dict(rival)
        self._pending: tuple[Scalars, Scalars] | None = None
        """Figures of the last step, which may still be under way."""

    def run(self, batches: Iterator[jax.Array]) -> None:
        """Step until the end, an early stop or a stop signal.

        Raises:
            RunError: a term, a gradient or a weight is not finite; names them.
        """
        self.stop.listen()
        self.bar.start()
        try:
            for batch in batches:
                self._advance(batch)
                if self._after():
                    break
            self._pause()
        finally:
            self.bar.stop()
            for tracker in self.trackers:
                tracker.close()

    # --- a step ---------------------------------------------------------------------------------

    def _advance(self, batch: jax.Array) -> None:
        number = self.progress.step
        now, phase = self.controls.now(number), self.controls.phase(number)
        if not self.step.ready(phase):
            with self._paused():
                log.info("compiled the step in %.1f s", self.step.compile(self.state, batch, now, phase))
        done = self.step(self.state, batch, now, phase)
        self._settle()  # the figures of the step before, while this one computes
        self.state = done.state
        self._pending = (done.shown, done.watched)
        self.progress.step = number + 1
        self.values_done += batch.size
        self.bar.advance(number + 1)

    def _settle(self) -> dict[str, float]:
        """The figures of the last step once it is done.

        Raises:
            RunError: a term or a gradient is not finite; names it.
        """
        if self._pending is None:
            return {}
        found: tuple[dict[str, jax.Array], dict[str, jax.Array]] = jax.device_get(self._pending)
        shown, watched = found
        require_finite(watched, self.progress.step)
        self._rival |= {name: float(shown[name]) for name in RIVAL if name in shown}
        return {name: float(value) for name, value in shown.items()} | self._rival

    def _after(self) -> bool:
        """What is due after a step; whether the training ends."""
        step, train = self.progress.step, self.train
        ends = step == train.steps
        if step % train.log_every == 0 or ends:
            self._log(step)
        if step % train.val_every == 0 or ends:
            with self._paused():
                ends |= self._validate(step)
        ends |= self._stopping(step)
        if step % train.checkpoint_every == 0 or ends:
            with self._paused():
                self._save()
        return ends

    def _stopping(self, step: int) -> bool:
        """Whether a process was asked to stop; several ask one another only when they log."""
        if jax.process_count() == 1:
            return self.stop.number is not None
        if step % self.train.log_every:
            return False
        numbers = multihost_utils.process_allgather(jnp.int32(self.stop.number or 0))
        self.stop.number = int(np.max(numbers)) or None
        return self.stop.number is not None

    # --- figures --------------------------------------------------------------------------------

    def _log(self, step: int) -> None:
        figures = {f"train/{name}": value for name, value in self._settle().items()}
        if self.controls.timeline is not None and step > self.controls.timeline.first:
            figures["train/skipped_updates"] = 0.0  # only fp16 skips any
        require_finite(figures, step)
        figures |= {"lr": self.controls.lr(step), "samples_per_second": self.rate()}
        self._record(step, figures)
        self.bar.figures(figures["train/loss"], figures.get("train/codes_used"), self.rate(), self._health())

    def _validate(self, step: int) -> bool:
        """Judge the averaged weights where there are any; whether early stopping ends the training."""
        average = self.state.average
        params = self.state.codec.params if average is None else average.params
        figures = self.validate(params, self.state.codec.rest)
        self._record(step, figures)
        require_finite(figures, step)
        improved = self.progress.take(figures, self.train)
        for metric in improved:
            self.keep(params, self.state.codec.rest, metric)
        text = summary(step, figures, self._health() + praise(improved, self.train))
        self.bar.line(text)
        log.info(text)
        if self.progress.exhausted(self.train):
            self.bar.line(f"no better {self.train.best.metric} lately: stopping early at step {step}")
            return True
        return False

    def _health(self) -> str:
        """The discriminator's mean logits and the strength of its push."""
        words = {"logits_real": "D(real)", "logits_fake": "D(fake)", "gradient_ratio": "push"}
        shown = {word: self._rival[name] for name, word in words.items() if name in self._rival}
        return "".join(f"  {word} {value:.2f}" for word, value in shown.items())

    def _save(self) -> None:
        require_finite({f"train/{name}": value for name, value in self._settle().items()}, self.progress.step)
        self.save(self.state, self._rival)

    def _record(self, step: int, figures: dict[str, float]) -> None:
        if self.csv is not None:
            self.csv.write(step, figures)
        for tracker in self.trackers:
            tracker.log(figures, step)

    # --- time -----------------------------------------------------------------------------------

    def rate(self) -> float:
        """Scalar values trained on a second; compilation, validation and checkpoints left out."""
        running = time.perf_counter() - self._begin if self._begin is not None else 0.0
        return self.values_done / max(self.seconds + running, 1e-9)

    @contextmanager
    def _paused(self) -> Iterator[None]:
        self._pause()
        yield
        self._begin = time.perf_counter()

    def _pause(self) -> None:
        if self._begin is not None:
            jax.block_until_ready(self.state)  # type: ignore[no-untyped-call]
            self.seconds += time.perf_counter() - self._begin
            self._begin = None
