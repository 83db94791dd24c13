"""PatchGAN."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.discriminator import PatchGanSpec
from anycodec.torch.discriminators.base import Discriminator, Judgement
from anycodec.torch.discriminators.layers import (
    SLOPE,
    convolution,
    has_bias,
    judge,
    normalisation,
    normalise_spectrally,
)


class PatchLayer(nn.Module):
    """Convolution of kernel 4, normalisation, LeakyReLU."""

    def __init__(self, dims: int, in_channels: int, out_channels: int, *, stride: int, norm: str) -> None:
        super().__init__()
        self.conv = convolution(
            dims, in_channels, out_channels, 4, stride=stride, padding=1, bias=has_bias(norm)
        )
        self.norm = normalisation(norm, dims, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), SLOPE)


class PatchGan(Discriminator):
    """`layers` strided layers, the first without normalisation, one of stride 1, then one logit a patch.

    The features are the outputs of the layers.
    """

    def __init__(self, spec: PatchGanSpec, channels: int, dims: int) -> None:
        super().__init__()
        self.dims = dims
        widths = [spec.base_channels * min(2**n, 8) for n in range(spec.layers + 1)]
        self.layers = nn.ModuleList([PatchLayer(dims, channels, widths[0], stride=2, norm="none")])
        for n in range(1, spec.layers + 1):
            stride = 2 if n < spec.layers else 1
            self.layers.append(PatchLayer(dims, widths[n - 1], widths[n], stride=stride, norm=spec.norm))
        self.head = convolution(dims, widths[-1], 1, 4, stride=1, padding=1, bias=True)
        if spec.spectral_norm:
            normalise_spectrally(self)

    def forward(self, x: Tensor) -> Judgement:
        return judge(x, self.dims, self.layers, self.head)
