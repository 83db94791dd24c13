"""Specs of the quantizers. `type` names the module in `anycodec/torch/quantizers/`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from anycodec.config.base import Spec


class CodebookSpec(Spec):
    """Settings that every quantizer with a codebook has."""

    codebook_size: int = Field(1024, ge=2, le=2**24, description="number of codes")
    beta: float = Field(0.25, ge=0, description="weight of the commitment term |z - sg(q)|^2")
    kmeans_init: bool = Field(True, description="start the codes from k-means of a batch of latents")
    kmeans_iterations: int = Field(10, ge=1, description="Lloyd iterations of that k-means")
    kmeans_after: int = Field(
        0, ge=0, description="steps trained without quantisation before the k-means start"
    )
    restart_after: int = Field(
        200, ge=0, description="steps without use before a code is restarted; 0 = never"
    )


class VqSpec(CodebookSpec):
    """Learned codebook, |sg(z) - q|^2 + beta |z - sg(q)|^2 (van den Oord 2017, eq. 3)."""

    type: Literal["vq"] = "vq"


class EmaSpec(CodebookSpec):
    """Codebook as exponential moving averages with Laplace smoothing (van den Oord 2017, app. A.1)."""

    type: Literal["ema"] = "ema"
    decay: float = Field(0.99, gt=0, lt=1, description="decay of counts and sums a step")
    epsilon: float = Field(1e-5, gt=0, description="Laplace smoothing of the counts")


class SimVqSpec(CodebookSpec):
    """Frozen codebook seen through one learned linear layer (SimVQ, arXiv 2411.02038)."""

    type: Literal["simvq"] = "simvq"
    kmeans_init: bool = Field(False, description="start the codes from k-means of a batch of latents")
    restart_after: int = Field(0, ge=0, description="steps without use before a code is restarted; 0 = never")


QuantizerSpec = Annotated[VqSpec | EmaSpec | SimVqSpec, Field(discriminator="type")]
