"""VQ by moving averages."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.quantizers.codebook import CodebookSpec


class EmaSpec(CodebookSpec):
    """Codebook as exponential moving averages with Laplace smoothing (van den Oord 2017, app. A.1)."""

    type: Literal["ema"] = "ema"
    decay: float = Field(0.99, gt=0, lt=1, description="decay of counts and sums a step")
    epsilon: float = Field(1e-5, gt=0, description="Laplace smoothing of the counts")
