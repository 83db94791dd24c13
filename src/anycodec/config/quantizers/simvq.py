"""SimVQ."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.quantizers.codebook import LearnedCodebookSpec


class SimVqSpec(LearnedCodebookSpec):
    """Frozen codebook seen through one learned linear layer (SimVQ, arXiv 2411.02038)."""

    type: Literal["simvq"] = "simvq"
    kmeans_init: bool = Field(False, description="start the codes from k-means of a batch of latents")
    restart_after: int = Field(0, ge=0, description="steps without use before a code is restarted; 0 = never")
