"""The whole configuration of a run that trains a feature network on the data itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from anycodec.config.base import PositiveInt, Spec
from anycodec.config.data import DataSpec, VideoSource
from anycodec.config.evaluation import ClassicalSpec
from anycodec.config.run import window_shape
from anycodec.config.train import CosineSchedule, LoopSpec, OptimizerSpec, ScheduleSpec
from anycodec.errors import UserError


class FeatureNetworkSpec(Spec):
    """Residual convolutions, each level at half the resolution of the one before."""

    base_channels: int = Field(32, ge=1, description="width of the first level")
    channel_multipliers: tuple[PositiveInt, ...] = Field(
        (1, 2, 4),
        min_length=1,
        description="width of each level over base_channels; a feature covers 2^levels values an axis",
    )
    res_blocks: int = Field(1, ge=0, description="residual blocks a level")
    norm_groups: int = Field(8, ge=1, description="groups of GroupNorm; lowered where they don't divide")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.base_channels * multiplier for multiplier in self.channel_multipliers)


class ClassifierSpec(Spec):
    """Features that tell classes apart (the folders of the data)."""

    type: Literal["classifier"] = "classifier"
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="share of the target given to all classes")


class VicregSpec(Spec):
    """Features that stay under augmentation, uncorrelated (VICReg, arXiv 2105.04906); no classes."""

    type: Literal["vicreg"] = "vicreg"
    width: int = Field(256, ge=2, description="of the vectors that are compared")
    invariance: float = Field(25.0, ge=0, description="factor of the distance of two views")
    variance: float = Field(25.0, ge=0, description="factor of what a deviation lacks to 1")
    covariance: float = Field(1.0, ge=0, description="factor of the squared covariances")


class FeaturesSpec(Spec):
    """A feature network and what it is trained on."""

    network: FeatureNetworkSpec = Field(default_factory=FeatureNetworkSpec, description="the network")
    objective: Annotated[ClassifierSpec | VicregSpec, Field(discriminator="type")] = Field(
        default_factory=ClassifierSpec, description="what it learns"
    )
    augmentation: ClassicalSpec | None = Field(
        default_factory=ClassicalSpec, description="what each window goes through first; null = nothing"
    )


def _optimizer() -> OptimizerSpec:
    return OptimizerSpec(lr=2e-3, betas=(0.9, 0.99), weight_decay=1e-2)


class FeaturesTrainSpec(LoopSpec):
    """The training loop of a feature network."""

    steps: int = Field(1000, ge=1, description="optimizer steps")
    batch_size: int = Field(32, ge=2, description="windows a step, over all devices")
    optimizer: OptimizerSpec = Field(default_factory=_optimizer, description="AdamW")
    schedule: ScheduleSpec = Field(
        default_factory=lambda: CosineSchedule(warmup=50), description="learning rate over steps"
    )
    val_batches: int = Field(16, ge=1, description="batches a validation")


class FeaturesRunSpec(Spec):
    """Everything that decides the training of a feature network."""

    name: str = Field(
        "features", pattern=r"^[A-Za-z0-9._-]+$", description="name of the run and its default folder"
    )
    seed: int = Field(0, ge=0, description="seed of weights, sampling and splits")
    data: DataSpec = Field(description="where signals come from and how they are cut")
    features: FeaturesSpec = Field(description="the network and what it learns")
    train: FeaturesTrainSpec = Field(default_factory=FeaturesTrainSpec, description="the training loop")


def features_cross_check(spec: FeaturesRunSpec) -> list[tuple[str, UserError]]:
    """Mistakes that need several settings at once, each with the dotted key that holds it."""
    covered = 2 ** len(spec.features.network.widths)
    smallest = min(window_shape(spec.data, "HW" if isinstance(spec.data, VideoSource) else None))
    if smallest < covered:
        mistake = UserError(
            f"a feature covers {covered} values along each axis, windows have {smallest}",
            how="use fewer channel_multipliers, or larger windows",
        )
        return [("features.network.channel_multipliers", mistake)]
    if spec.features.objective.type == "vicreg" and spec.features.augmentation is None:
        mistake = UserError(
            "two views of a window are the same without augmentation", how="leave features.augmentation out"
        )
        return [("features.augmentation", mistake)]
    return []
