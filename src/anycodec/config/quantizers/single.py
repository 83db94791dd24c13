"""Quantizers that give one token a latent: what `residual` and `grouped` are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycodec.config.quantizers.ema import EmaSpec
from anycodec.config.quantizers.fsq import FsqSpec
from anycodec.config.quantizers.lfq import LfqSpec
from anycodec.config.quantizers.optvq import OptVqSpec
from anycodec.config.quantizers.simvq import SimVqSpec
from anycodec.config.quantizers.vq import VqSpec

AnySingle = VqSpec | EmaSpec | SimVqSpec | OptVqSpec | FsqSpec | LfqSpec
SingleSpec = Annotated[AnySingle, Field(discriminator="type")]
