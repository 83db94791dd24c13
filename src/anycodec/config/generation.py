"""The whole configuration of a generator's run, with the checks that need several parts at once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from anycodec.config.base import Spec
from anycodec.config.generator import GeneratorSpec
from anycodec.config.process import ProcessSpec
from anycodec.config.train import ConstantSchedule, LoopSpec, OptimizerSpec, ScheduleSpec
from anycodec.errors import UserError


def _optimizer() -> OptimizerSpec:
    return OptimizerSpec(lr=2e-4, betas=(0.9, 0.95))


class GeneratorTrainSpec(LoopSpec):
    """The training loop of a generator."""

    steps: int = Field(10000, ge=1, description="optimizer steps")
    batch_size: int = Field(32, ge=1, description="latents a step, over all devices")
    accumulate: int = Field(1, ge=1, description="batches whose gradients are averaged a step")
    optimizer: OptimizerSpec = Field(default_factory=_optimizer, description="AdamW")
    schedule: ScheduleSpec = Field(
        default_factory=lambda: ConstantSchedule(warmup=100), description="learning rate over steps"
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="compute precision (autocast)")
    compile: bool = Field(False, description="compile the network: a slow first step, faster ones after it")
    tf32: bool = Field(
        True, description="NVIDIA GPUs multiply fp32 in 19 bits (TF32), which is several times faster"
    )
    clip: float | None = Field(1.0, gt=0, description="largest global gradient norm; null = off")
    ema: float | None = Field(
        0.9999,
        gt=0,
        lt=1,
        description="decay of the averaged weights that are evaluated and kept; null = off",
    )
    label_dropout: float = Field(
        0.1, ge=0, lt=1, description="share of the labels that training hides, which guidance needs"
    )
    keep: Literal["last", "best"] = Field(
        "last", description="weights that the run keeps: the last, or those of the lowest val/loss"
    )
    val_every: int = Field(500, ge=1, description="steps between validations")
    checkpoint_every: int = Field(500, ge=1, description="steps between resumable checkpoints")


class GeneratorRunSpec(Spec):
    """Everything that decides the training of a generator. What can be derived from the latents is."""

    name: str = Field(
        "generator", pattern=r"^[A-Za-z0-9._-]+$", description="name of the run and its default folder"
    )
    seed: int = Field(0, ge=0, description="seed of weights, batches, times and noise")
    latents: Path = Field(description="folder that `anycodec latents` wrote")
    generator: GeneratorSpec = Field(description="the network")
    process: ProcessSpec | None = Field(
        None, description="how latents are noised and what is regressed; null for generators of tokens"
    )
    train: GeneratorTrainSpec = Field(default_factory=GeneratorTrainSpec, description="the training loop")


def generation_cross_check(spec: GeneratorRunSpec) -> list[tuple[str, UserError]]:
    """Mistakes that need several settings at once, each with the dotted key that holds it."""
    kind, process = spec.generator.type, spec.process
    if spec.generator.takes == "latents" and process is None:
        mistake = UserError(
            f"the generator {kind} works on latents, which need a process", how="add process.type=flow"
        )
        return [("process", mistake)]
    if spec.generator.takes == "tokens" and process is not None:
        mistake = UserError(
            f"the generator {kind} works on tokens, which have no process", how="process=null"
        )
        return [("process", mistake)]
    return []
