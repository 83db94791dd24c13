"""Perceptual distance of pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from anycodec.config.loss import LpipsSpec
from anycodec.torch.features.lpips import load_lpips
from anycodec.torch.losses.base import Loss


class LpipsLoss(Loss):
    """Mean LPIPS of the pictures [B C H W], or of the frames of clips [B C T H W], in [-1, 1].

    Raises:
        WeightsError: the published weights are not on this machine.
    """

    def __init__(self, spec: LpipsSpec) -> None:
        super().__init__()
        self.lpips = load_lpips(spec.net, bf16=spec.precision == "bf16")
        self.compared = spec.frames

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        if self.compared and self.training:
            step = target.shape[2] // self.compared
            first = int(torch.randint(step, ()))
            kept = slice(first, first + step * self.compared, step)
            reconstruction, target = reconstruction[:, :, kept], target[:, :, kept]
        distances: Tensor = self.lpips(frames(reconstruction), frames(target))
        return distances.mean()


def frames(windows: Tensor) -> Tensor:
    """[B C H W] as it is, [B C T H W] -> [B*T C H W]."""
    return windows if windows.ndim == 4 else windows.transpose(1, 2).flatten(0, 1)
