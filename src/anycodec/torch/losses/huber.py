"""Huber's loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from anycodec.config.loss import HuberSpec
from anycodec.torch.losses.base import Loss


class Huber(Loss):
    """Mean of e^2 / 2 where |e| <= delta, delta (|e| - delta / 2) elsewhere; e = x^ - x (Huber 1964)."""

    def __init__(self, spec: HuberSpec) -> None:
        super().__init__()
        self.delta = spec.delta

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(reconstruction, target, delta=self.delta)
