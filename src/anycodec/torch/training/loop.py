"""Train a codec with pytorch-lightning."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.precision import MixedPrecision

from anycodec.checkpoint import write_arrays
from anycodec.config.codec import KlVaeSpec
from anycodec.config.run import RunSpec
from anycodec.config.train import TrainSpec
from anycodec.engine import StartingWeights, TrainingJob, TrainingResult
from anycodec.errors import ConfigError, MissingExtra, UserError
from anycodec.torch.codecs import make_codec
from anycodec.torch.codecs.base import Codec
from anycodec.torch.device import choose_device, out_of_memory
from anycodec.torch.losses import make_losses
from anycodec.torch.quantizers.renewal import RenewedCodes
from anycodec.torch.shaping import latent_terms
from anycodec.torch.training.adversarial import AdversarialTraining
from anycodec.torch.training.adversary import Adversary
from anycodec.torch.training.batch import Batch
from anycodec.torch.training.batches import TrainBatches, starting_batches, validation_batches
from anycodec.torch.training.callback import StepCallback
from anycodec.torch.training.handover import resumable_state
from anycodec.torch.training.layout import lay_out
from anycodec.torch.training.module import CodecTraining
from anycodec.torch.training.pictures import PictureFigures
from anycodec.torch.training.state import progress_of, save_state
from anycodec.torch.training.validate import validate
from anycodec.torch.weights import load_weights
from anycodec.training.csvlog import CsvLog
from anycodec.training.progress import ProgressBar
from anycodec.training.standing import Progress
from anycodec.training.stop import StopRequest, Terminated
from anycodec.training.trackers import require_wandb_key

_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def train(job: TrainingJob) -> TrainingResult:
    """Run a training to its last step, an early stop or a stop signal.

    Raises:
        ConfigError: a precision that the device lacks.
        ResourceError: the batch does not fit in memory.
        RunError: a term became NaN, the resumable state is damaged, or starting weights don't fit.
        Terminated: SIGTERM or Ctrl-C; a checkpoint was written.
    """
    spec, train_spec = job.spec, job.spec.train
    device = choose_device(train_spec.device)
    _check_precision(spec, device)
    torch.set_num_threads(train_spec.threads or os.cpu_count() or 1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = train_spec.tf32
    torch.manual_seed(spec.seed)
    with out_of_memory("codec", "lower the codec's widths"):
        codec = make_codec(spec.codec, job.in_channels, len(job.classes))
    resumed = resumable_state(job, codec, device) if job.resume else None
    progress = Progress()
    if resumed is not None:
        codec.load_state_dict(resumed["codec"])
        progress = progress_of(resumed)
    module = _module(job, codec)
    if resumed is None and job.start is not None:
        _start(module, job.start)
    if device.type == "cpu":
        lay_out(module)
    batches = TrainBatches(
        job.train,
        spec.data,
        train_spec.batch_size,
        progress.step * train_spec.accumulate,
        labelled=_looks_at_labels(spec),
    )
    stop = StopRequest()
    callback = StepCallback(
        spec=spec,
        validate=partial(validate, batches=_validation(job), pictures=PictureFigures(spec)),
        progress=progress,
        csv=CsvLog(job.run.metrics, progress.step),
        bar=ProgressBar(train_spec.steps, progress.step, job.quiet),
        stop=stop,
        keep=lambda kept, metric: save_weights(kept.codec, job.weights(metric)),
        save=partial(_save, job),
        resumed=resumed,
    )
    if progress.step < train_spec.steps and not progress.exhausted(train_spec):
        trainer = _trainer(spec, job.run.path, device, callback, train_spec.steps - progress.step)
        where = f"train.batch_size {train_spec.batch_size}"
        how = "lower train.batch_size (train.accumulate makes up for it), the window or the codec's width"
        with stop, _quiet_lightning(), out_of_memory(where, how), closing(job.train):
            if resumed is None and job.start is None:
                codec.to(device).start(starting_batches(job.train, train_spec.batch_size, device))
            trainer.fit(module, batches)
        if isinstance(module, AdversarialTraining):
            save_weights(module.adversary.discriminator, job.run.discriminator)
        if module.shaping:
            save_weights(module.shaping, job.run.path / "alignment.safetensors")
    if stop.number is not None:
        raise Terminated(stop.number)
    busy = max(callback.seconds, 1e-9)
    return TrainingResult(
        steps=progress.step,
        bests=progress.bests,
        seconds=callback.seconds,
        data_wait=min(1.0, batches.waited / busy),
        samples_per_second=callback.values_done / busy,
    )


def _module(job: TrainingJob, codec: Codec) -> CodecTraining:
    spec = job.spec
    losses = make_losses(spec.losses)
    weights = {name: term.weight for name, term in spec.losses.items()}
    shaping = latent_terms(spec, codec, job.teacher)
    if spec.adversarial is None:
        return CodecTraining(codec, losses, weights, spec.train, shaping)
    with out_of_memory("adversarial.discriminator", "lower the discriminator's widths"):
        adversary = Adversary(spec.adversarial, job.in_channels, len(spec.codec.axes), spec.seed)
    return AdversarialTraining(codec, losses, weights, spec.train, adversary, shaping=shaping)


def _start(module: CodecTraining, weights: StartingWeights) -> None:
    """Give the networks weights that were trained before."""
    load_weights(module.codec, weights.codec)
    for quantizer in module.codec.modules():
        if isinstance(quantizer, RenewedCodes):
            quantizer.settle()
    if weights.discriminator is not None and isinstance(module, AdversarialTraining):
        load_weights(module.adversary.discriminator, weights.discriminator)


def _validation(job: TrainingJob) -> list[Batch]:
    spec, train = job.spec, job.spec.train
    labelled = _looks_at_labels(spec)
    return validation_batches(job.val, spec.data, train.batch_size, train.val_batches, labelled)


def _looks_at_labels(spec: RunSpec) -> bool:
    return isinstance(spec.codec, KlVaeSpec) and spec.codec.label_channels is not None


def _save(job: TrainingJob, state: dict[str, Any]) -> None:
    save_state(job.run, state)
    job.saved()


def save_weights(network: torch.nn.Module, path: Path) -> None:
    """Write a network's parameters and buffers as safetensors, atomically."""
    write_arrays(path, {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()})


def _check_precision(spec: RunSpec, device: torch.device) -> None:
    if spec.train.precision == "fp16" and device.type == "cpu":
        mistake = UserError("fp16 needs a GPU", where="train.precision", how="use bf16 or fp32")
        raise ConfigError([mistake])


def _trainer(
    spec: RunSpec, folder: Path, device: torch.device, callback: StepCallback, steps: int
) -> pl.Trainer:
    train = spec.train
    with _quiet_lightning():
        return pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            **(by_lightning(train, steps) if spec.adversarial is None else by_hand(train)),
            max_epochs=-1,
            callbacks=[callback],
            logger=_loggers(spec, folder),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=str(folder),
        )


def by_lightning(train: TrainSpec, steps: int) -> dict[str, Any]:
    """What Lightning does around each step of one optimizer."""
    return {
        "precision": _PRECISION[train.precision],
        "max_steps": steps,
        "accumulate_grad_batches": train.accumulate,
        "gradient_clip_val": train.clip,
    }


def by_hand(train: TrainSpec) -> dict[str, Any]:
    """Only autocast: `AdversarialTraining` accumulates, scales and clips; `StepCallback` ends it."""
    if train.precision != "fp16":
        return {"precision": _PRECISION[train.precision], "max_steps": -1}
    off = torch.amp.GradScaler("cuda", enabled=False)
    return {"plugins": [MixedPrecision("16-mixed", "cuda", off)], "max_steps": -1}


def _loggers(spec: RunSpec, folder: Path) -> list[Logger]:
    loggers: list[Logger] = []
    if spec.train.tensorboard:
        from pytorch_lightning.loggers import TensorBoardLogger

        try:
            loggers.append(TensorBoardLogger(str(folder), name="tensorboard", version=""))
        except ModuleNotFoundError as error:
            raise MissingExtra("TensorBoard", "track") from error
    if spec.train.wandb is not None:
        loggers.append(_wandb(spec, folder))
    return loggers


def _wandb(spec: RunSpec, folder: Path) -> Logger:
    from pytorch_lightning.loggers import WandbLogger

    wandb = spec.train.wandb
    assert wandb is not None
    require_wandb_key(wandb)
    offline = wandb.mode == "offline"
    try:
        return WandbLogger(name=spec.name, project=wandb.project, save_dir=str(folder), offline=offline)
    except ModuleNotFoundError as error:
        raise MissingExtra("Weights & Biases", "track") from error


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's hints and start-up lines are for its own users, not for ours."""
    loggers: list[Any] = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
            warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
