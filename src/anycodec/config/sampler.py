"""Any sampler's spec. `type` names the module in `anycodec/config/samplers/` and `torch/samplers/`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycodec.config.samplers.euler import EulerSpec
from anycodec.config.samplers.heun import HeunSpec

SamplerSpec = Annotated[EulerSpec | HeunSpec, Field(discriminator="type")]

__all__ = ["EulerSpec", "HeunSpec", "SamplerSpec"]
