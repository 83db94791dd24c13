"""DPM-Solver++."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.samplers.base import AnySamplerSpec


class DpmSpec(AnySamplerSpec):
    """DPM-Solver++, multistep and deterministic (arXiv 2211.01095), as diffusers has it."""

    type: Literal["dpm"] = "dpm"
    steps: int = Field(25, ge=1, description="steps, an evaluation of the generator each")
    order: Literal[1, 2, 3] = Field(2, description="order of the solver")
