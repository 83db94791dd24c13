"""OptVQ."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.quantizers.codebook import LearnedCodebookSpec


class OptVqSpec(LearnedCodebookSpec):
    """Training shares a batch out to all codes alike by Sinkhorn; evaluation takes the nearest code.

    OptVQ (arXiv 2412.15195). Published: 16384 codes of width 256 in 4 or 8 heads, l2.
    """

    type: Literal["optvq"] = "optvq"
    heads: int = Field(
        1, ge=1, le=64, description="blocks of channels with a token each, all from one codebook"
    )
    projection: bool = Field(True, description="see the codebook through one learned linear layer")
    loss: Literal["l2", "l1", "ce"] = Field(
        "l2", description="l2, l1: distance of latents and codes; ce: cross-entropy of softmax(-distance)"
    )
    epsilon: float = Field(10.0, gt=0, description="sharpness of the assignment: it multiplies the cost")
    iterations: int = Field(5, ge=1, description="Sinkhorn iterations")
    cost: Literal["all", "dim", "none"] = Field(
        "all", description="unit of distances: all = their standard deviation, dim = sqrt(width), none = 1"
    )
    kmeans_after: int = Field(
        100, ge=0, description="steps trained without quantisation before the k-means start"
    )
    restart_after: int = Field(
        50, ge=0, description="steps without use before a code is restarted; 0 = never"
    )

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level, head by head."""
        return (self.codebook_size,) * self.heads
