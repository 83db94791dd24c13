"""Heun's method."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.samplers.ode import OdeSpec


class HeunSpec(OdeSpec):
    """Heun's method: two evaluations of the generator a step, of order 2."""

    type: Literal["heun"] = "heun"
    steps: int = Field(25, ge=1, description="steps")
