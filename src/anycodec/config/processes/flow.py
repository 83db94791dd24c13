"""Rectified flow."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from anycodec.config.processes.base import AnyProcessSpec


class FlowSpec(AnyProcessSpec):
    """Straight paths x_t = t x + (1 - t) noise and their velocity x - noise (arXiv 2209.03003).

    Times t = sigmoid(N(mean, std^2)) (arXiv 2403.03206); the loss is the mean squared error of the
    velocity plus `direction_weight` times 1 - cos between the velocities' channel vectors (arXiv
    2501.01423).
    """

    samplers: ClassVar = ("euler", "heun")

    type: Literal["flow"] = "flow"
    mean: float = Field(0.0, description="mean of the times' logit; above 0 = more times near the data")
    std: float = Field(1.0, gt=0, description="standard deviation of the times' logit")
    direction_weight: float = Field(1.0, ge=0, description="weight of the velocity's direction in the loss")
