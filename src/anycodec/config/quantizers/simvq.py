"""SimVQ."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.quantizers.codebook import LearnedCodebookSpec


class SimVqSpec(LearnedCodebookSpec):
    """Frozen codebook seen through one learned linear layer (SimVQ, arXiv 2411.02038).

    As published: kmeans_init false and restart_after 0. It then uses few codes as long as latents grow
    faster than the layer can follow: they are given some steps to settle first.
    """

    type: Literal["simvq"] = "simvq"
    kmeans_after: int = Field(
        100, ge=0, description="steps trained without quantisation before the k-means start"
    )
    restart_after: int = Field(
        50, ge=0, description="steps without use before a code is restarted; 0 = never"
    )
