"""What every quantizer with a table of codes can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.base import Spec


class CodebookSpec(Spec):
    """Settings that every quantizer with a codebook has."""

    codebook_size: int = Field(1024, ge=2, le=2**24, description="number of codes")
    code_dim: int | None = Field(
        None,
        ge=1,
        description="width of the codes, which latents are projected to; null = the latents' width",
    )
    distance: Literal["euclidean", "cosine"] = Field(
        "euclidean", description="what the nearest code is; with cosine, latents and codes have length one"
    )
    gradient: Literal["straight_through", "rotation"] = Field(
        "straight_through", description="how gradients of codes reach latents (rotation: arXiv 2410.06424)"
    )
    beta: float = Field(0.25, ge=0, description="weight of the commitment term |z - sg(q)|^2")
    entropy_weight: float = Field(
        0.0, ge=0, description="weight of E H(code|latent) - H(code), which keeps all codes in use; 0 = off"
    )
    entropy_temperature: float = Field(
        1.0, gt=0, description="softness of that choice of a code, in units of squared distance"
    )
    kmeans_init: bool = Field(True, description="start the codes from k-means of a batch of latents")
    kmeans_iterations: int = Field(10, ge=1, description="Lloyd iterations of that k-means")
    kmeans_after: int = Field(
        0, ge=0, description="steps trained without quantisation before the k-means start"
    )
    restart_after: int = Field(
        200, ge=0, description="steps without use before a code is restarted; 0 = never"
    )

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level."""
        return (self.codebook_size,)


class LearnedCodebookSpec(CodebookSpec):
    """Settings of codebooks that learn by gradient."""

    codebook_lr: float = Field(
        1.0, gt=0, description="learning rate of the codebook as a multiple of train.optimizer.lr"
    )
    orthogonal_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the mean squared cosine of two codes, which keeps them apart; 0 = off",
    )
