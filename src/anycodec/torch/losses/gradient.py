"""Error of the gradients along each axis."""

from __future__ import annotations

import torch
from torch import Tensor

from anycodec.config.loss import GradientSpec
from anycodec.torch.losses.base import Loss


class Gradient(Loss):
    """Mean over spatial axes i of mean |D_i x^ - D_i x|, D_i the difference of neighbours along i.

    As the gradient difference loss (Mathieu 2016) with signs: an edge of the wrong direction counts.
    """

    def __init__(self, spec: GradientSpec) -> None:
        super().__init__()

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        error = reconstruction - target
        return torch.stack([error.diff(dim=axis).abs().mean() for axis in range(2, error.ndim)]).mean()
