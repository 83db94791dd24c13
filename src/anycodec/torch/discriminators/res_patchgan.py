"""PatchGAN with residual blocks."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.discriminator import ResPatchGanSpec
from anycodec.torch.discriminators.base import Discriminator, Judgement
from anycodec.torch.discriminators.layers import (
    SLOPE,
    convolution,
    has_bias,
    judge,
    normalisation,
    normalise_spectrally,
)


class ResidualBlock(nn.Module):
    """x + f(f(x)), f: normalisation, LeakyReLU, convolution of kernel 3."""

    def __init__(self, dims: int, channels: int, norm: str) -> None:
        super().__init__()
        self.norms = nn.ModuleList([normalisation(norm, dims, channels) for _ in range(2)])
        self.convs = nn.ModuleList(
            [
                convolution(dims, channels, channels, 3, stride=1, padding=1, bias=last or has_bias(norm))
                for last in (False, True)
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h = conv(F.leaky_relu(norm(h), SLOPE))
        return x + h


class Level(nn.Module):
    """Convolution of stride 2, LeakyReLU, residual blocks."""

    def __init__(self, spec: ResPatchGanSpec, dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.down = convolution(
            dims, in_channels, out_channels, spec.kernel, stride=2, padding=(spec.kernel - 1) // 2, bias=True
        )
        self.blocks = nn.Sequential(
            *[ResidualBlock(dims, out_channels, spec.norm) for _ in range(spec.res_blocks)]
        )

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.blocks(F.leaky_relu(self.down(x), SLOPE))
        return h


class ResPatchGan(Discriminator):
    """A level a width, then a convolution of kernel 3 to one logit a patch; features: those of the levels."""

    def __init__(self, spec: ResPatchGanSpec, channels: int, dims: int) -> None:
        super().__init__()
        self.dims = dims
        widths = (channels, *spec.channels)
        self.levels = nn.ModuleList([Level(spec, dims, *pair) for pair in pairwise(widths)])
        self.head = convolution(dims, widths[-1], 1, 3, stride=1, padding=1, bias=True)
        if spec.spectral_norm:
            normalise_spectrally(self)

    def forward(self, x: Tensor) -> Judgement:
        return judge(x, self.dims, self.levels, lambda h: self.head(F.leaky_relu(h, SLOPE)))
