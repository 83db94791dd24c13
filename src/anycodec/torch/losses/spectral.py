"""Focal frequency loss."""

from __future__ import annotations

import torch
from torch import Tensor

from anycodec.config.loss import SpectralSpec
from anycodec.torch.losses.base import Loss


class Spectral(Loss):
    """mean w |F(x^) - F(x)|^2, F the orthonormal 2-D Fourier transform of a picture or frame.

    w = (|F(x^) - F(x)| / max |F(x^) - F(x)|)^alpha, the maximum taken over the frequencies of each picture
    and channel; no gradient flows through w (Jiang 2021). By Parseval, alpha 0 is the MSE.
    """

    def __init__(self, spec: SpectralSpec) -> None:
        super().__init__()
        self.alpha = spec.alpha

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        error = torch.fft.fft2(reconstruction - target, norm="ortho")
        power: Tensor = error.real.square() + error.imag.square()
        with torch.no_grad():
            largest = power.amax(dim=(-2, -1), keepdim=True).clamp_min(torch.finfo(power.dtype).tiny)
            weight = (power / largest) ** (self.alpha / 2)
        return (weight * power).mean()
