"""Spec of adversarial training: the discriminator, what it is trained on, and when it counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from anycodec.config.base import Spec
from anycodec.config.discriminator import DiscriminatorSpec, PatchGanSpec
from anycodec.config.losses.base import LossWindow, Misfit
from anycodec.config.train import ConstantSchedule, OptimizerSpec, ScheduleSpec


class InstanceNoiseSpec(Spec):
    """Gaussian noise on what the discriminator sees, real and reconstructed (Sønderby 2016, 1610.04490)."""

    scale: float = Field(0.01, gt=0, description="deviation at the discriminator's first step")
    steps: int | None = Field(
        None, ge=1, description="steps in which it falls linearly to 0; null = half of the discriminator's"
    )


class DiscriminatorOptimizerSpec(OptimizerSpec):
    """AdamW of the discriminator; its first moment is short, because its target moves."""

    lr: float = Field(1e-4, gt=0, description="peak learning rate")
    betas: tuple[float, float] = Field((0.5, 0.9), description="decay of the two moments")


class AdversarialSpec(Spec):
    """A discriminator that learns to tell windows from reconstructions; the codec learns to fool it."""

    discriminator: DiscriminatorSpec = Field(default_factory=PatchGanSpec, description="the network")
    objective: Literal["hinge", "vanilla", "wgan", "least_squares"] = Field(
        "hinge", description="what both sides minimise"
    )
    weight: float = Field(0.1, ge=0, description="factor of the codec's adversarial term")
    adaptive: Literal["none", "taming"] = Field(
        "taming",
        description="whether the factor is multiplied by the ratio of the gradients at the last layer",
    )
    start: int = Field(1000, ge=0, description="step from which the codec's adversarial term counts")
    lead: int = Field(500, ge=0, description="steps before `start` in which the discriminator learns alone")
    ramp: int = Field(1000, ge=0, description="steps in which the term grows to its weight")
    every: int = Field(1, ge=1, description="steps from one update of the discriminator to the next")
    feature_matching: float = Field(
        0.0, ge=0, description="factor of the distance between the discriminator's features; 0 = off"
    )
    gradient_penalty: float = Field(
        0.0, ge=0, description="factor of the discriminator's gradient penalty (WGAN-GP uses 10); 0 = off"
    )
    noise: InstanceNoiseSpec | None = Field(
        None, description="noise on what the discriminator sees; null = off"
    )
    optimizer: DiscriminatorOptimizerSpec = Field(
        default_factory=DiscriminatorOptimizerSpec, description="AdamW of the discriminator"
    )
    schedule: ScheduleSpec = Field(
        default_factory=ConstantSchedule,
        description="the discriminator's learning rate, over the steps from its first on",
    )
    clip: float | None = Field(
        1.0, gt=0, description="largest global gradient norm of the discriminator; null = off"
    )

    def misfits(self, window: LossWindow, steps: int) -> Iterator[Misfit]:
        """Why this can't work on such windows in a training of so many steps."""
        if self.lead > self.start:
            yield Misfit(
                "lead",
                f"the discriminator can't begin {self.lead} steps before step {self.start}",
                f"use a lead of at most {self.start}, or a later start",
            )
        if self.start >= steps:
            yield Misfit(
                "start",
                f"the adversarial term counts from step {self.start} on, the training ends after {steps}",
                "use an earlier start or more train.steps, or adversarial=null",
            )
        if self.gradient_penalty and self.discriminator.couples_samples:
            yield Misfit(
                "gradient_penalty",
                "a gradient penalty judges each window by itself, BatchNorm makes it depend on its batch",
                "set adversarial.discriminator.norm=instance, or adversarial.gradient_penalty=0",
            )
        if self.objective == "wgan" and not (self.gradient_penalty or self.discriminator.spectral_norm):
            yield Misfit(
                "objective",
                "wgan without a bound on the discriminator's slope diverges",
                "set adversarial.gradient_penalty=10 or adversarial.discriminator.spectral_norm=true",
            )
        misfit = self.discriminator.misfit(window)
        if misfit:
            yield Misfit(f"discriminator.{misfit.setting}", misfit.what, misfit.how)
