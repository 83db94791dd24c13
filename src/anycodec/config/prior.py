"""The whole configuration of a run that fits a prior of a codec's tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from anycodec.config.base import Spec
from anycodec.config.train import CosineSchedule, OptimizerSpec, ScheduleSpec


class PriorSpec(Spec):
    """A small network for each level of tokens: tables of codes, two hidden layers."""

    width: int = Field(128, ge=4, le=512, description="of the hidden layers")
    embedding: int = Field(16, ge=1, le=64, description="numbers that stand for a code")
    before: int = Field(
        16, ge=1, le=64, description="tokens before that a token of a series looks at; half in later levels"
    )
    coarser: int = Field(
        4, ge=0, le=16, description="tokens of the level before on either side; in pictures one at most"
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of the inputs of each layer that training drops; against few data"
    )
    values: int = Field(2**24, ge=1, description="scalar values of the training split that are looked at")


def _optimizer() -> OptimizerSpec:
    return OptimizerSpec(lr=3e-3, betas=(0.9, 0.99), weight_decay=1e-2)


class PriorTrainSpec(Spec):
    """The training loop of a prior."""

    steps: int = Field(3000, ge=1, description="optimizer steps")
    batch_size: int = Field(2048, ge=1, description="tokens of each level a step")
    optimizer: OptimizerSpec = Field(default_factory=_optimizer, description="AdamW")
    schedule: ScheduleSpec = Field(
        default_factory=lambda: CosineSchedule(warmup=50), description="learning rate over steps"
    )
    val_every: int = Field(250, ge=1, description="steps between validations")
    val_tokens: int = Field(2**15, ge=1, description="tokens of each level that a validation looks at")
    checkpoint_every: int = Field(250, ge=1, description="steps between resumable checkpoints")
    log_every: int = Field(10, ge=1, description="steps between rows of metrics.csv")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to compute")
    threads: int | None = Field(None, ge=1, description="CPU threads; null = all cores")


class PriorRunSpec(Spec):
    """Everything that decides the training of a prior. What can be derived from the codec is."""

    name: str = Field(
        "prior", pattern=r"^[A-Za-z0-9._-]+$", description="name of the run and its default folder"
    )
    seed: int = Field(0, ge=0, description="seed of weights and batches")
    codec: Path = Field(description="run of the codec whose tokens are learned")
    root: Path | None = Field(
        None, description="data, split as the codec's; null = what the codec was trained on"
    )
    prior: PriorSpec = Field(description="the networks")
    train: PriorTrainSpec = Field(default_factory=PriorTrainSpec, description="the training loop")
