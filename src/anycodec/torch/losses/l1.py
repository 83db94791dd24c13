"""Mean absolute error."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from anycodec.config.loss import L1Spec
from anycodec.torch.losses.base import Loss


class L1(Loss):
    """mean |x^ - x| over all elements."""

    def __init__(self, spec: L1Spec) -> None:
        super().__init__()

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(reconstruction, target)
