"""Mean squared error."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from anycodec.config.loss import MseSpec
from anycodec.torch.losses.base import Loss


class Mse(Loss):
    """mean (x^ - x)^2 over all elements."""

    def __init__(self, spec: MseSpec) -> None:
        super().__init__()

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(reconstruction, target)
