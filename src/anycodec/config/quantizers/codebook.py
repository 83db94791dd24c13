"""What every quantizer with a table of codes can be told."""

from __future__ import annotations

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
