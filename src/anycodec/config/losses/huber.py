"""Settings of the term `huber`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.losses.base import LossTerm


class HuberSpec(LossTerm):
    """Huber's loss: quadratic for errors up to delta, linear beyond, so that outliers count less."""

    type: Literal["huber"] = "huber"
    delta: float = Field(
        1.0, gt=0, le=1e6, description="error from which on it is linear, in normalised units"
    )
