"""Any process's spec. `type` names the module in `anycodec/config/processes/` and `torch/processes/`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycodec.config.processes.diffusion import DiffusionSpec
from anycodec.config.processes.flow import FlowSpec

ProcessSpec = Annotated[DiffusionSpec | FlowSpec, Field(discriminator="type")]

__all__ = ["DiffusionSpec", "FlowSpec", "ProcessSpec"]
