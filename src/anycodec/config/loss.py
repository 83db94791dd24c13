"""Specs of the loss terms. `type` names the module in `anycodec/torch/losses/`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from anycodec.config.base import Spec


class LossTerm(Spec):
    """Settings that every term has."""

    weight: float = Field(1.0, ge=0, description="factor of this term in the sum")


class MseSpec(LossTerm):
    """Mean squared error of the normalised window."""

    type: Literal["mse"] = "mse"


class L1Spec(LossTerm):
    """Mean absolute error of the normalised window."""

    type: Literal["l1"] = "l1"


LossSpec = Annotated[MseSpec | L1Spec, Field(discriminator="type")]
