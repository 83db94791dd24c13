"""Residual quantisation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from anycodec.config.base import Spec
from anycodec.config.quantizers.codebook import CodebookSpec
from anycodec.config.quantizers.ema import EmaSpec
from anycodec.config.quantizers.fsq import FsqSpec
from anycodec.config.quantizers.single import SingleSpec


class ResidualSpec(Spec):
    """Stages that each quantise what the ones before left (SoundStream's RVQ, arXiv 2107.03312).

    Stages of fsq have symmetric levels and clip; a tanh comes before the first.
    """

    type: Literal["residual"] = "residual"
    stages: int = Field(4, ge=1, le=64, description="number of stages; each gives a level of tokens")
    quantizer: SingleSpec = Field(default_factory=EmaSpec, description="the quantizer of a stage")
    shared: bool = Field(False, description="one codebook for all stages")
    dropout: float = Field(
        0.0, ge=0, le=1, description="share of training batches restored from a random number of stages"
    )
    rate_weight: float = Field(
        0.0,
        ge=0,
        description="what a bit of a code counts beside squared distance, as a share of the mean squared "
        "length of the latents: latents take codes in frequent use where those are nearly as near, and files "
        "become smaller; .001 to .01",
    )
    beam: int = Field(
        1,
        ge=1,
        le=64,
        description="sums of codes that encoding follows from stage to stage; 1 = the nearest code in turn, "
        "as training does",
    )

    @model_validator(mode="after")
    def _choices_have_tables(self) -> ResidualSpec:
        """Codes are compared with each other where they stand in a table."""
        single = isinstance(self.quantizer, CodebookSpec) and len(self.quantizer.codebook_sizes) == 1
        for name, value, off in (("beam", self.beam, 1), ("rate_weight", self.rate_weight, 0)):
            if value != off and not single:
                raise ValueError(
                    f"{name} {value:g} compares the codes of a table, one a stage, which "
                    f"{self.quantizer.type} with these settings does not have: set {name}: {off}"
                )
        if self.rate_weight and self.shared:
            raise ValueError(
                "rate_weight counts how often each stage uses a code: set shared: false, or rate_weight: 0"
            )
        return self

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level."""
        return self.quantizer.codebook_sizes * self.stages

    @property
    def stage(self) -> SingleSpec:
        """Settings of a stage, whose codes are as wide as its latents; levels of fsq cover what is left.

        What is counted in steps holds for a shared codebook too, which is used `stages` times a step.
        """
        stage = self.quantizer
        if isinstance(stage, FsqSpec):
            return stage.model_copy(update={"bound": "clip", "symmetric": True})
        if not isinstance(stage, CodebookSpec):
            return stage
        uses = self.stages if self.shared else 1
        return stage.model_copy(
            update={
                "code_dim": None,
                "kmeans_after": uses * stage.kmeans_after,
                "restart_after": uses * stage.restart_after,
            }
        )
