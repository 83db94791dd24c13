"""Spec of the training loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from anycodec.config.base import Spec
from anycodec.config.losses.base import LossWindow, Misfit
from anycodec.config.metrics import Mode, better, metric_misfit


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


class ScheduleStage(Spec):
    """A part of a training with a learning rate of its own."""

    share: float = Field(1.0, gt=0, description="the part's length beside the other stages': 45, 15, 30")
    lr: float = Field(gt=0, description="its learning rate")


class StagedSchedule(Spec):
    """One learning rate after another, in place of the optimizer's, after a linear warm-up."""

    type: Literal["stages"] = "stages"
    warmup: int = Field(0, ge=0, description="steps of linear warm-up")
    stages: tuple[ScheduleStage, ...] = Field(min_length=1, description="learning rates, part after part")


ScheduleSpec = Annotated[
    ConstantSchedule | CosineSchedule | ExponentialSchedule | StagedSchedule, Field(discriminator="type")
]


class OptimizerSpec(Spec):
    """Adam with decoupled weight decay (AdamW; weight_decay 0 is Adam)."""

    lr: float = Field(3e-4, gt=0, description="peak learning rate")
    betas: tuple[float, float] = Field((0.9, 0.99), description="decay of the two moments")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")


class LoopSpec(Spec):
    """What every training loop has, whatever it trains."""

    steps: int = Field(2000, ge=1, description="optimizer steps")
    batch_size: int = Field(16, ge=1, description="windows (or clips) a step, over all devices")
    optimizer: OptimizerSpec = Field(default_factory=OptimizerSpec, description="AdamW")
    schedule: ScheduleSpec = Field(default_factory=CosineSchedule, description="learning rate over steps")
    val_every: int = Field(200, ge=1, description="steps between validations")
    val_batches: int = Field(8, ge=1, description="batches a validation")
    checkpoint_every: int = Field(200, ge=1, description="steps between resumable checkpoints")
    log_every: int = Field(10, ge=1, description="steps between rows of metrics.csv")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to compute")
    devices: int | None = Field(
        None, ge=1, description="devices of a machine that share each batch; null = one in torch, all in jax"
    )
    num_nodes: int = Field(1, ge=1, description="machines that share each batch")
    strategy: Literal["ddp", "fsdp"] | None = Field(
        None, description="what devices divide: ddp the batch, fsdp the weights too; null = ddp"
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of a process; null = all cores, shared")


WITHOUT_EFFECT = frozenset(
    {"checkpoint_every", "log_every", "device", "devices", "num_nodes", "strategy", "threads"}
)
"""Settings of `LoopSpec` that say where a training runs and how it is watched, not what it learns."""
FREE_ON_RESUME = WITHOUT_EFFECT | {"steps", "val_every", "val_batches"}
"""Settings of `LoopSpec` that may change when a training goes on: how long it is, too."""


class EarlyStopSpec(Spec):
    """Stop when the best-checkpoint metric has not improved."""

    patience: int = Field(10, ge=1, description="validations without improvement before the end")
    min_delta: float = Field(0.0, ge=0, description="improvement that counts")


class BestSpec(Spec):
    """Which weights the run keeps."""

    metric: str = Field(
        "val/snr",
        description="metric that chooses the best weights, as in metrics.csv; step = the last ones",
    )
    mode: Mode | None = Field(None, description="whether more or less is better; null = as the metric wants")


class WandbSpec(Spec):
    """Weights & Biases; the key comes from WANDB_API_KEY only."""

    project: str = Field("anycodec", description="project name")
    mode: Literal["online", "offline"] = Field("online", description="offline writes to the run directory")


class TrainSpec(LoopSpec):
    """The training loop of a codec."""

    init_from: Path | None = Field(
        None, description="run of the same codec whose weights the training starts from; null = new ones"
    )
    accumulate: int = Field(1, ge=1, description="batches whose gradients are summed a step")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="compute precision (autocast)")
    tf32: bool = Field(
        True, description="NVIDIA GPUs multiply fp32 in 19 bits (TF32), which is several times faster"
    )
    clip: float | None = Field(1.0, gt=0, description="largest global gradient norm; null = off")
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of the averaged weights that are evaluated and kept; null = off"
    )
    backup_dir: Path | None = Field(
        None,
        description="slow or remote folder where checkpoints are mirrored, in a folder of the run's name; "
        "--resume brings a run back from it; null = off",
    )
    best: BestSpec = Field(default_factory=BestSpec, description="which weights the run keeps")
    keep_best: tuple[str, ...] = Field(
        (),
        description="metrics whose best weights are kept too, each as a run of its own in best/",
    )
    early_stop: EarlyStopSpec | None = Field(None, description="null = train all steps")
    tensorboard: bool = Field(False, description="write TensorBoard events into the run")
    wandb: WandbSpec | None = Field(None, description="Weights & Biases; null = off")

    @property
    def kept_metrics(self) -> tuple[str, ...]:
        """Metrics whose best weights are kept, first the one of the run's own weights."""
        return (self.best.metric, *self.keep_best)

    def misfits(self, window: LossWindow, levels: int) -> Iterator[Misfit]:
        """Why metrics can't decide in a training on such windows.

        Args:
            window: the windows.
            levels: of the codec's tokens, 0 where latents stay continuous.
        """
        wanted = better(self.best.metric)
        settings = ["best.metric"] + ["keep_best"] * len(self.keep_best)
        for setting, metric in zip(settings, self.kept_metrics, strict=True):
            misfit = metric_misfit(setting, metric, window, levels)
            if misfit:
                yield misfit
        if self.best.mode not in (None, wanted):
            yield Misfit(
                "best.mode",
                f"{self.best.mode} would keep the worst weights by {self.best.metric}",
                f"leave it out, or use {wanted}",
            )
        twice = {metric for metric in self.kept_metrics if self.kept_metrics.count(metric) > 1}
        if twice:
            yield Misfit(
                "keep_best",
                f"the best weights by {', '.join(sorted(twice))} are kept already",
                "name each metric once, and not that of train.best",
            )
