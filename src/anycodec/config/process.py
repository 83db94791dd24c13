"""Any process's spec. `type` names the module in `anycodec/config/processes/` and `torch/processes/`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycodec.config.processes.flow import FlowSpec

ProcessSpec = Annotated[FlowSpec, Field()]

__all__ = ["FlowSpec", "ProcessSpec"]
