"""Processes, one file a kind; `type` in the config is the module's name."""

from __future__ import annotations

from typing import cast

from anycodec.config.process import ProcessSpec
from anycodec.registry import implementation
from anycodec.torch.processes.base import Predictor, Process


def make_process(spec: ProcessSpec) -> Process:
    """The process of a spec."""
    return cast(Process, implementation(__name__, Process, spec.type)(spec))


__all__ = ["Predictor", "Process", "make_process"]
