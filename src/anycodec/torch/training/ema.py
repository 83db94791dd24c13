"""Exponential moving average of the trained parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from anycodec.torch.parallel.shards import divided


class Ema:
    """theta_avg <- d theta_avg + (1 - d) theta, with d = min(decay, (1 + t) / (10 + t)).

    The ramp lets short runs profit too (Tan & Le 2019 use the same in TensorFlow's average).
    Buffers are left alone: averaging an EMA codebook again would ruin it.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.updates = 0
        self.average = {
            name: parameter.detach().clone()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters after an optimizer step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, parameter in self._parameters():
            self.average[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the module holds the averaged parameters."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Tensor | int]:
        return {"updates": self.updates, **{f"average.{name}": value for name, value in self.average.items()}}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        self.updates = int(state["updates"])
        for name, value in self.average.items():
            value.copy_(divided(torch.as_tensor(state[f"average.{name}"]), value))

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._parameters():
            kept = parameter.detach().clone()
            parameter.copy_(self.average[name])
            self.average[name].copy_(kept)

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        for name, parameter in self.module.named_parameters():
            if name in self.average:
                yield name, parameter
