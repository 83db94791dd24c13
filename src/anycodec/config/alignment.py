"""Spec of the alignment of latents with the features of another network."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from anycodec.config.base import Spec
from anycodec.config.losses.base import Misfit
from anycodec.config.teacher import TeacherSpec


class AlignmentStage(Spec):
    """How strongly, and how closely, latents follow the features in a part of the training."""

    share: float = Field(1.0, gt=0, description="the part's length beside the other stages': 45, 15, 30")
    weight: float = Field(0.1, ge=0, description="factor of the sum of both terms")
    cosine_margin: float = Field(
        0.5, ge=0, le=2, description="m1: a position may be this far from its feature, as 1 - cosine"
    )
    distance_margin: float = Field(
        0.25, ge=0, le=2, description="m2: by this much may the cosines of two positions differ"
    )


class AlignmentSpec(Spec):
    """Latents shaped like the features of a network that knows what it sees (VA-VAE, arXiv 2501.01423).

    Generators learn such latents sooner.
    """

    teacher: TeacherSpec = Field(description="the network whose features of the input count")
    adaptive: bool = Field(
        True,
        description="whether the weight is multiplied by the ratio of the gradients at the encoder's "
        "last layer",
    )
    stages: tuple[AlignmentStage, ...] = Field(
        (AlignmentStage(),), min_length=1, description="weights and margins, part after part of the training"
    )

    def misfits(self, codec: str, normalizer: str, precision: str) -> Iterator[Misfit]:
        """Why this can't work in such a training.

        Args:
            codec: its type.
            normalizer: type of the normalizer.
            precision: of the training.
        """
        if codec != "klvae":
            yield Misfit(
                "teacher",
                f"codec {codec} has no latents that could be aligned",
                "use codec.type=klvae, or alignment=null",
            )
        if normalizer != "fixed":
            yield Misfit(
                "teacher",
                f"feature networks look at pictures in [-1, 1], data.normalizer {normalizer} gives others",
                "set data.normalizer.type=fixed",
            )
        if precision == "fp16" and self.adaptive:
            yield Misfit(
                "adaptive",
                "the gradients that the weight compares vanish in fp16",
                "use train.precision=bf16 or fp32, or alignment.adaptive=false",
            )
