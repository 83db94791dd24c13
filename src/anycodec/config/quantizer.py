"""Any quantizer's spec. `type` names the module in `anycodec/config/quantizers/` and `torch/quantizers/`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycodec.config.quantizers.codebook import CodebookSpec
from anycodec.config.quantizers.ema import EmaSpec
from anycodec.config.quantizers.fsq import FsqSpec
from anycodec.config.quantizers.grouped import GroupedSpec
from anycodec.config.quantizers.kl import KlSpec
from anycodec.config.quantizers.lfq import LfqSpec
from anycodec.config.quantizers.none import NoneSpec
from anycodec.config.quantizers.optvq import OptVqSpec
from anycodec.config.quantizers.residual import ResidualSpec
from anycodec.config.quantizers.simvq import SimVqSpec
from anycodec.config.quantizers.single import AnySingle, SingleSpec
from anycodec.config.quantizers.vq import VqSpec

QuantizerSpec = Annotated[
    AnySingle | ResidualSpec | GroupedSpec | KlSpec | NoneSpec, Field(discriminator="type")
]

__all__ = [
    "CodebookSpec",
    "EmaSpec",
    "FsqSpec",
    "GroupedSpec",
    "KlSpec",
    "LfqSpec",
    "NoneSpec",
    "OptVqSpec",
    "QuantizerSpec",
    "ResidualSpec",
    "SimVqSpec",
    "SingleSpec",
    "VqSpec",
]
