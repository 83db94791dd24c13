"""Train a generator: one network, one optimizer, averaged weights."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anycodec.checkpoint import write_arrays
from anycodec.config.generation import GeneratorTrainSpec
from anycodec.data.sampler import full_order
from anycodec.engine import Best, GeneratorJob, TrainingResult
from anycodec.errors import RunError
from anycodec.torch.device import out_of_memory
from anycodec.torch.parallel import group
from anycodec.torch.parallel.gradients import gradient_mean
from anycodec.torch.parallel.place import Place, find_place
from anycodec.torch.parallel.team import together
from anycodec.torch.training.clock import Clock
from anycodec.torch.training.ema import Ema
from anycodec.torch.training.module import require_finite
from anycodec.torch.training.objective import LatentBatch, Objective, make_objective
from anycodec.torch.training.optimizer import CodecAdamW
from anycodec.torch.training.state import load_state, random_state, save_state, set_random_state
from anycodec.training.csvlog import CsvLog
from anycodec.training.progress import ProgressBar
from anycodec.training.schedule import schedule_factor
from anycodec.training.sharing import effective
from anycodec.training.stop import StopRequest, Terminated

log = logging.getLogger("anycodec.train")

METRIC = "val/loss"
VALIDATION_SEED = 1234
"""Of the times and the noise of every validation, so that its loss is comparable."""


def train_generator(job: GeneratorJob) -> TrainingResult:
    """Run a training to its last step or a stop signal.

    Raises:
        ConfigError: a batch that the devices can't share.
        ResourceError: the batch does not fit in memory, or another process was killed.
        RunError: a term became NaN, or the resumable state is damaged.
        Terminated: SIGTERM or Ctrl-C; a checkpoint was written.
    """
    place = find_place(job.spec.train, divides=False)
    with together(place):
        if not place.alone:
            group.tell(replace(job, quiet=True))
        return train_here(job, place)


def train_here(job: GeneratorJob, place: Place) -> TrainingResult:
    """Train together with the other processes, which are there already; see `train_generator`."""
    spec = job.spec.train
    device = place.device(spec.device)
    torch.set_num_threads(place.threads(spec.threads))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = spec.tf32
    torch.manual_seed(job.spec.seed)
    where, how = f"train.batch_size {spec.batch_size}", "lower train.batch_size (train.accumulate makes up)"
    stop = StopRequest()
    with out_of_memory(where, how), stop:
        training = GeneratorTraining(job, device)
        if job.resume:
            training.restore(group.tell(load_state(job.run) if place.rank == 0 else None))
        stop.listen()
        training.run(stop)
    if stop.number is not None:
        raise Terminated(stop.number)
    return training.result()


class GeneratorTraining:
    """The loop. Everything that decides the next step is in `_state`.

    Args:
        job: what to train on.
        device: where.
    """

    def __init__(self, job: GeneratorJob, device: torch.device) -> None:
        self.job, self.device = job, device
        self.spec: GeneratorTrainSpec = job.spec.train
        self.objective: Objective = make_objective(job.spec, job.sizes)
        self.network: nn.Module = self.objective.network.to(device)
        if self.spec.compile:
            self.network.compile()
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = CodecAdamW(
            [{"params": parameters, "lr": self.spec.optimizer.lr}], self.spec.optimizer
        )
        self.mean = gradient_mean(parameters)
        self.factor = schedule_factor(self.spec)
        self.ema = None if self.spec.ema is None else Ema(self.network, self.spec.ema)
        self.step = 0
        self.best: Best | None = None
        self.clock = Clock()
        self._train = job.latents.rows("train")
        self._orders: dict[int, NDArray[np.int64]] = {}
        self._validation = _spread(job, self.spec.batch_size * self.spec.val_batches)

    # --- the loop -------------------------------------------------------------------------------

    def run(self, stop: StopRequest) -> None:
        """Train from where it stands to the last step, or until it is asked to stop."""
        csv = CsvLog(self.job.run.metrics, self.step) if group.rank() == 0 else None
        bar = ProgressBar(self.spec.steps, self.step, self.job.quiet)
        bar.line(f"batch: {effective(self.spec, self.spec.accumulate, group.size())}")
        self.network.train()
        bar.start()
        self.clock.start()
        try:
            terms: dict[str, Tensor] = {}
            while self.step < self.spec.steps and not group.asked(stop, self.step, self.spec.log_every):
                terms = self._update()
                bar.advance(self.step)
                self._after(terms, csv, bar)
            if stop.number is not None and terms:
                self._checkpoint(terms)
        finally:
            self.clock.pause()
            bar.stop()

    def _update(self) -> dict[str, Tensor]:
        """One optimizer step; the terms, averaged over the accumulated batches."""
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.spec.optimizer.lr * self.factor(self.step)
        sums: dict[str, Tensor] = {}
        for number, batch in enumerate(self._batches(), start=1):
            group.own_noise(self.job.spec.seed, self.step, number)
            with self._autocast():
                terms = self.objective.terms(batch, self.spec.label_dropout)
            loss = torch.stack([term.float() for term in terms.values()]).sum()
            if self.mean and number == self.spec.accumulate:
                self.mean.expect()
            torch.autograd.backward(loss / self.spec.accumulate)
            for name, term in {"loss": loss, **terms}.items():
                sums[name] = sums.get(name, torch.zeros((), device=self.device)) + term.detach().float()
        if self.mean:
            self.mean.finish()
        if self.spec.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.spec.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update()
        self.step += 1
        return {name: total / self.spec.accumulate for name, total in sums.items()}

    def _batches(self) -> Iterator[LatentBatch]:
        """The batches of this step: a function of the seed and the step alone."""
        batch_size, count = self.spec.batch_size, len(self._train)
        size = batch_size // group.size()
        first = self.step * self.spec.accumulate
        for number in range(first, first + self.spec.accumulate):
            begin = time.perf_counter()
            start = number * batch_size + group.rank() * size
            places = (divmod(position, count) for position in range(start, start + size))
            rows = [int(self._train[self._order(epoch)[place]]) for epoch, place in places]
            batch = self.objective.load(self.job.latents, rows)
            self.clock.waited += time.perf_counter() - begin
            self.clock.values += batch_size * math.prod(self.job.sizes.shape)
            yield batch

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The order of the training rows in an epoch; the last two are remembered."""
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = full_order(len(self._train), self.job.spec.seed, epoch)
        return self._orders[epoch]

    def _after(self, terms: dict[str, Tensor], csv: CsvLog | None, bar: ProgressBar) -> None:
        """What hangs on the number of steps: figures, validation, checkpoints."""
        last = self.step == self.spec.steps
        if self.step % self.spec.log_every == 0 or last:
            shared = group.means(terms)
            require_finite(shared, self.step)
            figures = {f"train/{name}": float(value) for name, value in shared.items()}
            figures |= {"lr": self.optimizer.param_groups[0]["lr"], "values_per_second": self.clock.rate}
            if csv:
                csv.write(self.step, figures)
            bar.figures(figures["train/loss"], None, self.clock.rate, "")
        if csv and (self.step % self.spec.val_every == 0 or last):
            self.clock.pause()
            self._validate(csv, bar)
            self.clock.start()
        if self.step % self.spec.checkpoint_every == 0 or last:
            self._checkpoint(terms)

    # --- validation and checkpoints -------------------------------------------------------------

    def _validate(self, csv: CsvLog, bar: ProgressBar) -> None:
        with self._averaged(), torch.random.fork_rng(devices=self._cuda()):
            torch.manual_seed(VALIDATION_SEED)
            self.network.eval()
            figures = self._figures()
            self.network.train()
            require_finite(figures, self.step)
            better = self.best is None or figures[METRIC] < self.best["value"]
            if better:
                self.best = Best(value=figures[METRIC], step=self.step)
                if self.spec.keep == "best":
                    self._keep()
        csv.write(self.step, figures)
        text = f"step {self.step:>6}  val/loss {figures[METRIC]:.5g}" + ("  best" if better else "")
        bar.line(text)
        log.info(text)

    @torch.no_grad()
    def _figures(self) -> dict[str, float]:
        """Mean terms over the validation rows, by `val/` names."""
        sums: dict[str, float] = {}
        for begin in range(0, len(self._validation), self.spec.batch_size):
            rows = self._validation[begin : begin + self.spec.batch_size]
            batch = self.objective.load(self.job.latents, rows)
            with self._autocast():
                terms = self.objective.terms(batch, 0.0)
            values = {name: float(term) for name, term in terms.items()}
            for name, value in {"loss": sum(values.values()), **values}.items():
                sums[f"val/{name}"] = sums.get(f"val/{name}", 0.0) + value * len(rows) / len(self._validation)
        return sums

    def _checkpoint(self, terms: dict[str, Tensor]) -> None:
        """Keep the weights and what the training goes on from.

        Raises:
            RunError: a term or a weight is not finite; the last checkpoint stays.
        """
        require_finite(terms, self.step)
        require_finite({f"weight {name}": p for name, p in self.network.named_parameters()}, self.step)
        if group.rank():
            return
        if self.spec.keep == "last":
            with self._averaged():
                self._keep()
        save_state(self.job.run, self._state())

    def _keep(self) -> None:
        state = self.network.state_dict()
        write_arrays(self.job.run.weights, {name: value.cpu().numpy() for name, value in state.items()})

    def _averaged(self) -> AbstractContextManager[None]:
        return self.ema.applied() if self.ema is not None else nullcontext()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.spec.precision == "bf16")

    def _cuda(self) -> list[torch.device]:
        return [self.device] if self.device.type == "cuda" else []

    # --- resuming -------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "best": None if self.best is None else dict(self.best),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": {} if self.ema is None else self.ema.state_dict(),
            "random": random_state(),
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on where the last checkpoint was written, from the start where there is none.

        Raises:
            RunError: the state is of another generator.
        """
        if state is None:
            return
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.ema is not None:
                self.ema.load_state_dict(state["ema"])
            self.step, self.best = int(state["step"]), state["best"]
            set_random_state(state["random"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise RunError(
                f"the resumable state is not that of this generator: {str(error).splitlines()[0]}",
                where=str(self.job.run.resume),
                how="remove the resume folder and train again",
            ) from error

    def result(self) -> TrainingResult:
        """How it ended."""
        busy = max(self.clock.seconds, 1e-9)
        return TrainingResult(
            steps=self.step,
            bests={} if self.best is None else {METRIC: self.best},
            seconds=self.clock.seconds,
            data_wait=min(1.0, self.clock.waited / busy),
            samples_per_second=self.clock.values / busy,
        )


def _spread(job: GeneratorJob, most: int) -> Sequence[int]:
    """Validation rows, spread evenly; training rows where there is no validation split."""
    rows = job.latents.rows("val")
    rows = rows if len(rows) else job.latents.rows("train")
    wanted = np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)
    return [int(row) for row in rows[wanted]]
