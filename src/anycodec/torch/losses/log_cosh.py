"""Log-cosh loss."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from anycodec.config.loss import LogCoshSpec
from anycodec.torch.losses.base import Loss


class LogCosh(Loss):
    """Mean log cosh(x^ - x) over all elements.

    log cosh e = |e| + log(1 + exp(-2 |e|)) - log 2, which doesn't overflow.
    """

    def __init__(self, spec: LogCoshSpec) -> None:
        super().__init__()

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        size = (reconstruction - target).abs()
        return (size + F.softplus(-2 * size)).mean() - math.log(2)
