"""Any sampler's spec. `type` names the module in `anycodec/config/samplers/` and `torch/samplers/`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycodec.config.samplers.ddim import DdimSpec
from anycodec.config.samplers.ddpm import DdpmSpec
from anycodec.config.samplers.dpm import DpmSpec
from anycodec.config.samplers.euler import EulerSpec
from anycodec.config.samplers.heun import HeunSpec

SamplerSpec = Annotated[EulerSpec | HeunSpec | DdimSpec | DdpmSpec | DpmSpec, Field(discriminator="type")]

__all__ = ["DdimSpec", "DdpmSpec", "DpmSpec", "EulerSpec", "HeunSpec", "SamplerSpec"]
