"""How generated samples are judged: the study of an augmentation and its classifier."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from anycodec.config.base import PositiveInt, Spec

Filter = Literal["none", "confidence", "density"]
"""What decides which samples of a pool are used."""


class ClassicalSpec(Spec):
    """Classical augmentation, drawn anew for each sample of each batch.

    Nothing is mirrored: reversed time or Doppler is unphysical.
    """

    share: float = Field(
        0.5, ge=0, le=1, description="share of the samples of a batch; the others stay as test samples are"
    )
    shift: float = Field(
        0.25, ge=0, le=0.5, description="time shift up to this share of a window either way, around its end"
    )
    gain: float = Field(0.1, ge=0, description="deviation of the logarithm of the gain")
    noise: float = Field(0.1, ge=0, description="deviation of added noise, in deviations of the data")


class ClassifierSpec(Spec):
    """A small convolutional classifier, trained anew for each figure."""

    steps: int = Field(300, ge=1, description="optimizer steps, the same whatever it is trained on")
    batch_size: int = Field(32, ge=2, description="samples a step")
    channels: int = Field(16, ge=1, description="channels of the first of three layers; doubled twice")
    features: int = Field(64, ge=1, le=64, description="features before the classes")
    lr: float = Field(2e-3, gt=0, description="largest learning rate of AdamW; falls to 0 by a cosine")
    weight_decay: float = Field(1e-2, ge=0, description="of AdamW")


class StudySpec(Spec):
    """Real data alone, classically augmented, and with generated samples, at several budgets."""

    budgets: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (5, 10, 20, 50), min_length=1, description="real samples a class, drawn from the training split"
    )
    multiples: tuple[PositiveInt, ...] = Field(
        (1, 2, 4), min_length=1, description="generated samples for each real one"
    )
    seeds: int = Field(3, ge=1, description="repetitions: other draws of real samples, other classifiers")
    filter: Filter = Field(
        "none", description="keep the generated samples of highest class confidence or density, or all"
    )
    keep: float = Field(0.5, gt=0, le=1, description="share of each class's samples that the filter keeps")
    classical: ClassicalSpec = Field(default_factory=ClassicalSpec, description="classical augmentation")
    classifier: ClassifierSpec = Field(default_factory=ClassifierSpec, description="what is trained to judge")

    @field_validator("budgets", "multiples")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError(f"{list(value)} must rise")
        return value
