"""DDPM's ancestral sampling."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.samplers.base import AnySamplerSpec


class DdpmSpec(AnySamplerSpec):
    """Ancestral sampling: random steps with the variance of q(x_j | x_k, x) (arXiv 2006.11239, eq. 7)."""

    type: Literal["ddpm"] = "ddpm"
    steps: int = Field(250, ge=1, description="steps, an evaluation of the generator each")
