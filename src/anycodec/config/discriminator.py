"""Any discriminator's spec; `type` names a module of `config/discriminators/` and `torch/discriminators/`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycodec.config.discriminators.base import DiscriminatorBase
from anycodec.config.discriminators.patchgan import PatchGanSpec
from anycodec.config.discriminators.res_patchgan import ResPatchGanSpec

DiscriminatorSpec = Annotated[PatchGanSpec | ResPatchGanSpec, Field(discriminator="type")]

__all__ = ["DiscriminatorBase", "DiscriminatorSpec", "PatchGanSpec", "ResPatchGanSpec"]
