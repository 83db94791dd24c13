"""DDIM."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.samplers.base import AnySamplerSpec


class DdimSpec(AnySamplerSpec):
    """Implicit models: deterministic steps through a diffusion's chain (arXiv 2010.02502)."""

    type: Literal["ddim"] = "ddim"
    steps: int = Field(50, ge=1, description="steps, an evaluation of the generator each")
    eta: float = Field(
        0.0, ge=0, le=1, description="noise that a step adds, as a share of what the `ddpm` sampler adds"
    )
