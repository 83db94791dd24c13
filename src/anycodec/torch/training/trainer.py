"""Lightning's trainer of one device, set up for a codec's training."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.precision import MixedPrecision

from anycodec.config.run import RunSpec
from anycodec.config.train import TrainSpec
from anycodec.engine import TrainingJob
from anycodec.errors import MissingExtra
from anycodec.torch.parallel import group
from anycodec.torch.training.callback import StepCallback
from anycodec.training.trackers import require_wandb_key

_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def make_trainer(job: TrainingJob, device: torch.device, callback: StepCallback, steps: int) -> pl.Trainer:
    """A trainer of one device: what several do together is in `anycodec.torch.parallel`."""
    spec, train, folder = job.spec, job.spec.train, job.run.path
    settings = by_lightning(train, steps) if spec.adversarial is None else by_hand(train)
    if dist.is_initialized():  # or it would take torchrun's variables for its own
        settings["plugins"] = [*settings.get("plugins", []), LightningEnvironment()]
    with quiet_lightning():
        return pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=[device.index or 0] if device.type == "cuda" else 1,
            **settings,
            max_epochs=-1,
            callbacks=[callback],
            logger=_loggers(spec, folder) if group.rank() == 0 else [],
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
def quiet_lightning() -> Iterator[None]:
    """Lightning's hints and start-up lines are for its own users, not for ours."""
    loggers: list[Any] = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
            warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
            warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
