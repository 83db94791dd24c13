"""Loss terms, one file a term; `type` in the config is the module's name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from anycodec.config.loss import LossSpec
from anycodec.registry import implementation
from anycodec.torch.losses.base import Loss


def make_losses(specs: Mapping[str, LossSpec]) -> nn.ModuleDict:
    """The terms of a configuration by name."""
    return nn.ModuleDict(
        {name: implementation(__name__, Loss, spec.type)(spec) for name, spec in specs.items()}
    )
