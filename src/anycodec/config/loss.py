"""Any loss term's spec. `type` names the module in `anycodec/config/losses/` and `anycodec/torch/losses/`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycodec.config.losses.base import LossTerm, LossWindow
from anycodec.config.losses.gradient import GradientSpec
from anycodec.config.losses.huber import HuberSpec
from anycodec.config.losses.l1 import L1Spec
from anycodec.config.losses.log_cosh import LogCoshSpec
from anycodec.config.losses.lpips import LpipsSpec
from anycodec.config.losses.mse import MseSpec
from anycodec.config.losses.spectral import SpectralSpec
from anycodec.config.losses.stft import StftSpec

LossSpec = Annotated[
    MseSpec | L1Spec | HuberSpec | LogCoshSpec | GradientSpec | SpectralSpec | StftSpec | LpipsSpec,
    Field(discriminator="type"),
]

__all__ = [
    "GradientSpec",
    "HuberSpec",
    "L1Spec",
    "LogCoshSpec",
    "LossSpec",
    "LossTerm",
    "LossWindow",
    "LpipsSpec",
    "MseSpec",
    "SpectralSpec",
    "StftSpec",
]
