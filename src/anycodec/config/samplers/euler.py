"""Euler's method."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.samplers.ode import OdeSpec


class EulerSpec(OdeSpec):
    """Euler's method: an evaluation of the generator a step, of order 1."""

    type: Literal["euler"] = "euler"
    steps: int = Field(50, ge=1, description="steps, one less than the points that LightningDiT counts")
