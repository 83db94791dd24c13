"""Any quantizer's spec. `type` names the module in `anycodec/config/quantizers/` and `torch/quantizers/`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycodec.config.quantizers.codebook import CodebookSpec
from anycodec.config.quantizers.ema import EmaSpec
from anycodec.config.quantizers.simvq import SimVqSpec
from anycodec.config.quantizers.vq import VqSpec

QuantizerSpec = Annotated[VqSpec | EmaSpec | SimVqSpec, Field(discriminator="type")]

__all__ = ["CodebookSpec", "EmaSpec", "QuantizerSpec", "SimVqSpec", "VqSpec"]
