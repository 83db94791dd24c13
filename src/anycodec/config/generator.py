"""Any generator's spec. `type` names the module in `anycodec/config/generators/` and `torch/generators/`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycodec.config.generators.dit import DitSpec
from anycodec.config.generators.tokens import TokensSpec
from anycodec.config.generators.unet import UnetSpec

GeneratorSpec = Annotated[DitSpec | TokensSpec | UnetSpec, Field(discriminator="type")]

__all__ = ["DitSpec", "GeneratorSpec", "TokensSpec", "UnetSpec"]
