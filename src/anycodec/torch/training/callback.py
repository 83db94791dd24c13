"""What happens after each optimizer step: averaging, logging, validation, checkpoints, the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytorch_lightning as pl

from anycodec.config.run import RunSpec
from anycodec.torch.parallel import group
from anycodec.torch.parallel.shards import gathered
from anycodec.torch.quantizers.ranks import apart
from anycodec.torch.training.batch import windows_of
from anycodec.torch.training.ema import Ema
from anycodec.torch.training.module import CodecTraining, require_finite
from anycodec.torch.training.pictures import shown
from anycodec.torch.training.state import random_state, set_random_state
from anycodec.training.csvlog import CsvLog
from anycodec.training.figures import summary
from anycodec.training.progress import ProgressBar
from anycodec.training.standing import Progress, praise
from anycodec.training.stop import StopRequest

log = logging.getLogger("anycodec.train")


class StepCallback(pl.Callback):
    """Drives everything that hangs on the number of optimizer steps.

    Args:
        spec: the run's configuration.
        validate: figures of the codec on the validation windows.
        progress: where the training stands; updated in place.
        csv: metrics.csv, None where another process writes it.
        bar: the progress bar.
        stop: asked after each step.
        keep: called with (module, metric) for each metric that improved, averaged weights applied.
        save: called with a complete resumable state.
        resumed: state to continue from, as `save` got it.
    """

    def __init__(
        self,
        *,
        spec: RunSpec,
        validate: Callable[[CodecTraining], dict[str, float]],
        progress: Progress,
        csv: CsvLog | None,
        bar: ProgressBar,
        stop: StopRequest,
        keep: Callable[[CodecTraining, str], None],
        save: Callable[[dict[str, Any]], None],
        resumed: dict[str, Any] | None,
    ) -> None:
        self.spec = spec
        self.train = spec.train
        self.validate = validate
        self.progress = progress
        self.csv = csv
        self.bar = bar
        self.stop = stop
        self.keep = keep
        self.save = save
        self.resumed = resumed
        self.ema: Ema | None = None
        self.values_done = 0
        self.seconds = 0.0
        self._pictures = ""
        self._begin: float | None = None
        self._random: dict[str, Any] | None = None

    # --- start ----------------------------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = _module(pl_module)
        if self.train.ema is not None:
            self.ema = Ema(module.codec, self.train.ema)
        if self.resumed is not None:
            self._restore(trainer, module, self.resumed)
            self.resumed = None
        self.stop.listen()
        self.bar.start()
        self._begin = time.perf_counter()

    def _restore(self, trainer: pl.Trainer, module: CodecTraining, state: dict[str, Any]) -> None:
        trainer.optimizers[0].load_state_dict(state["optimizer"])
        module.set_schedule(trainer, self.progress.step)
        if state["scaler"]:
            trainer.precision_plugin.load_state_dict(state["scaler"])
        module.load_more_state(state)
        if self.ema is not None and state["ema"]:
            self.ema.load_state_dict(state["ema"])
        module.steps_done = self.progress.step
        self._random = state["random"]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._random is not None:  # as late as possible: start-up may have drawn numbers
            set_random_state(self._random)
            self._random = None
        group.own_noise(self.spec.seed, self.progress.step, batch_idx % self.train.accumulate)

    # --- each step ------------------------------------------------------------------------------

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module = _module(pl_module)
        self.values_done += windows_of(batch).numel() * group.size()
        if module.steps_done == self.progress.step:
            return  # gradients are still being accumulated
        step = self.progress.step = module.steps_done
        if self.ema is not None:
            self.ema.update()
        last = step == self.train.steps
        self.bar.advance(step)
        if step % self.train.log_every == 0 or last:
            self._log(trainer, module, step)
        if step % self.train.val_every == 0 or last:
            self._validate(trainer, module, step)
        asked = group.asked(self.stop, step, self.train.log_every)
        if step % self.train.checkpoint_every == 0 or last or asked or trainer.should_stop:
            module.check_finite()
            state = self._state(trainer, module)
            if group.rank() == 0:
                self.save(state)
        if asked or last:
            trainer.should_stop = True

    def _log(self, trainer: pl.Trainer, module: CodecTraining, step: int) -> None:
        shared = group.means(module.last)
        require_finite(shared, step)
        figures = {f"train/{name}": float(value) for name, value in shared.items()}
        figures["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        figures["samples_per_second"] = self.rate()
        self._record(trainer, step, figures)
        more = self._pictures + module.health()
        self.bar.figures(figures["train/loss"], figures.get("train/codes_used"), self.rate(), more)

    def _validate(self, trainer: pl.Trainer, module: CodecTraining, step: int) -> None:
        self._pause()
        if self.ema is None:
            self._judge(trainer, module, step)
        else:
            with self.ema.applied():
                self._judge(trainer, module, step)
        self._begin = time.perf_counter()

    def _judge(self, trainer: pl.Trainer, module: CodecTraining, step: int) -> None:
        figures: dict[str, float] = {}
        if group.rank() == 0 or self.train.strategy == "fsdp":  # weights come together in all at once
            with trainer.precision_plugin.forward_context(), apart():
                figures = self.validate(module)
        figures = group.tell(figures)
        self._record(trainer, step, figures)
        require_finite(figures, step)
        improved = self.progress.take(figures, self.train)
        for metric in improved:
            self.keep(module, metric)
        self._pictures = shown(figures)
        text = summary(step, figures, self._pictures + module.health() + praise(improved, self.train))
        self.bar.line(text)
        log.info(text)
        if self.progress.exhausted(self.train):
            self.bar.line(f"no better {self.train.best.metric} lately: stopping early at step {step}")
            trainer.should_stop = True

    # --- figures and state ----------------------------------------------------------------------

    def rate(self) -> float:
        """Scalar values trained on a second, validation and checkpoints left out."""
        running = time.perf_counter() - self._begin if self._begin is not None else 0.0
        return self.values_done / max(self.seconds + running, 1e-9)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._pause()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.bar.stop()

    def _pause(self) -> None:
        if self._begin is not None:
            self.seconds += time.perf_counter() - self._begin
            self._begin = None

    def _record(self, trainer: pl.Trainer, step: int, figures: dict[str, float]) -> None:
        if self.csv is not None:
            self.csv.write(step, figures)
        for logger in trainer.loggers:
            logger.log_metrics(figures, step)

    def _state(self, trainer: pl.Trainer, module: CodecTraining) -> dict[str, Any]:
        return {
            **asdict(self.progress),
            "codec": gathered(module.codec.state_dict()),
            "optimizer": gathered(trainer.optimizers[0].state_dict()),
            "scaler": trainer.precision_plugin.state_dict(),
            "ema": gathered(self.ema.state_dict()) if self.ema else {},
            "random": random_state(),
            **module.more_state(),
        }


def _module(module: pl.LightningModule) -> CodecTraining:
    assert isinstance(module, CodecTraining)
    return module
