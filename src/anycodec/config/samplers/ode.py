"""Settings of the solvers that follow a velocity from noise, t = 0, to data, t = 1."""

from __future__ import annotations

from pydantic import Field

from anycodec.config.samplers.base import AnySamplerSpec


class OdeSpec(AnySamplerSpec):
    """A one-step solver over a warped grid of times."""

    shift: float = Field(
        0.3,
        gt=0,
        description="s of the times s t / (1 + (s - 1) t), t equally spaced; below 1 = finer near noise",
    )
