"""Spec of the training loop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from anycodec.config.base import Spec


class ConstantSchedule(Spec):
    """The learning rate stays, after a linear warm-up."""

    type: Literal["constant"] = "constant"
    warmup: int = Field(0, ge=0, description="steps of linear warm-up")


class CosineSchedule(Spec):
    """Half a cosine from lr to final_lr over all steps, after a linear warm-up."""

    type: Literal["cosine"] = "cosine"
    warmup: int = Field(100, ge=0, description="steps of linear warm-up")
    final_lr: float = Field(1e-6, ge=0, description="learning rate of the last step")


class ExponentialSchedule(Spec):
    """The learning rate is multiplied by gamma every so many steps, after a linear warm-up."""

    type: Literal["exponential"] = "exponential"
    warmup: int = Field(0, ge=0, description="steps of linear warm-up")
    gamma: float = Field(0.99, gt=0, le=1, description="factor")
    every: int = Field(1000, ge=1, description="steps between factors")


ScheduleSpec = Annotated[ConstantSchedule | CosineSchedule | ExponentialSchedule, Field(discriminator="type")]


class OptimizerSpec(Spec):
    """Adam with decoupled weight decay (AdamW; weight_decay 0 is Adam)."""

    lr: float = Field(3e-4, gt=0, description="peak learning rate")
    betas: tuple[float, float] = Field((0.9, 0.99), description="decay of the two moments")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")


class EarlyStopSpec(Spec):
    """Stop when the best-checkpoint metric has not improved."""

    patience: int = Field(10, ge=1, description="validations without improvement before the end")
    min_delta: float = Field(0.0, ge=0, description="improvement that counts")


class BestSpec(Spec):
    """Which weights the run keeps."""

    metric: str = Field("val/snr", description="metric that chooses the best weights, as in metrics.csv")
    mode: Literal["max", "min"] = Field("max", description="whether more or less is better")


class WandbSpec(Spec):
    """Weights & Biases; the key comes from WANDB_API_KEY only."""

    project: str = Field("anycodec", description="project name")
    mode: Literal["online", "offline"] = Field("online", description="offline writes to the run directory")


class TrainSpec(Spec):
    """The training loop."""

    steps: int = Field(2000, ge=1, description="optimizer steps")
    batch_size: int = Field(16, ge=1, description="windows (or clips) a step")
    accumulate: int = Field(1, ge=1, description="batches whose gradients are summed a step")
    optimizer: OptimizerSpec = Field(default_factory=OptimizerSpec, description="AdamW")
    schedule: ScheduleSpec = Field(default_factory=CosineSchedule, description="learning rate over steps")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="compute precision (autocast)")
    clip: float | None = Field(1.0, gt=0, description="largest global gradient norm; null = off")
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of the averaged weights that are evaluated and kept; null = off"
    )
    val_every: int = Field(200, ge=1, description="steps between validations")
    val_batches: int = Field(8, ge=1, description="batches a validation")
    checkpoint_every: int = Field(200, ge=1, description="steps between resumable checkpoints")
    log_every: int = Field(10, ge=1, description="steps between rows of metrics.csv")
    best: BestSpec = Field(default_factory=BestSpec, description="which weights the run keeps")
    early_stop: EarlyStopSpec | None = Field(None, description="null = train all steps")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to compute")
    threads: int | None = Field(None, ge=1, description="CPU threads; null = all cores")
    tensorboard: bool = Field(False, description="write TensorBoard events into the run")
    wandb: WandbSpec | None = Field(None, description="Weights & Biases; null = off")
