"""Layers of VQ-VAE-2's levels (Razavi et al. 2019, arXiv 1906.00446), after vvvm23/vqvae-2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from anycodec.config.codecs.vqvae2 import Vqvae2Spec


class ReZeroBlock(nn.Module):
    """x + gate f(x), f = two of (conv k3 without bias, BatchNorm, ReLU); the gate starts at 0

    (Bachlechner et al. 2020, arXiv 2003.04887).
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, hidden, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm1(self.conv1(x)))
        out: Tensor = x + self.gate * torch.relu(self.norm2(self.conv2(h)))
        return out


def _residual_stack(spec: Vqvae2Spec) -> nn.Sequential:
    return nn.Sequential(
        *(ReZeroBlock(spec.hidden_channels, spec.res_channels) for _ in range(spec.res_blocks))
    )


def _halvings(rate: int) -> int:
    return rate.bit_length() - 1


class HalvingConv(nn.Sequential):
    """conv k4 with stride 2, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        conv = nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1)
        super().__init__(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


class DoublingConv(nn.Sequential):
    """Transposed conv k4 with stride 2, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)
        super().__init__(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


def _widths(rate: int, first: int, hidden: int, last: int) -> list[int]:
    """Channels before and after each resampling by two, and after the convolution that follows them."""
    return [first, hidden // 2] + [last] * _halvings(rate)


class LevelEncoder(nn.Module):
    """[B C H W] -> [B hidden H/rate W/rate]."""

    def __init__(self, spec: Vqvae2Spec, in_channels: int, rate: int) -> None:
        super().__init__()
        *widths, last = _widths(rate, in_channels, spec.hidden_channels, spec.hidden_channels)
        self.down = nn.Sequential(*(HalvingConv(a, b) for a, b in pairwise(widths)))
        self.conv_out = nn.Conv2d(widths[-1], last, 3, padding=1)
        self.norm_out = nn.BatchNorm2d(last)
        self.residual = _residual_stack(spec)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.residual(self.norm_out(self.conv_out(self.down(x))))
        return out


class LevelDecoder(nn.Module):
    """[B D*n H W] -> [B C H*rate W*rate], from the codes of n levels."""

    def __init__(self, spec: Vqvae2Spec, levels: int, out_channels: int, rate: int) -> None:
        super().__init__()
        hidden = spec.hidden_channels
        *widths, last = _widths(rate, hidden, hidden, out_channels)
        self.conv_in = nn.Conv2d(levels * spec.latent_channels, hidden, 3, padding=1)
        self.residual = _residual_stack(spec)
        self.up = nn.Sequential(*(DoublingConv(a, b) for a, b in pairwise(widths)))
        self.conv_out = nn.Conv2d(widths[-1], last, 3, padding=1)
        self.norm_out = nn.BatchNorm2d(last)

    def forward(self, codes: Tensor) -> Tensor:
        out: Tensor = self.norm_out(self.conv_out(self.up(self.residual(self.conv_in(codes)))))
        return out


class Upscaler(nn.Module):
    """Codes of a level, level by level down to the finest: stage s goes to the (s+1)-th level below."""

    def __init__(self, channels: int, rates: Iterable[int]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(*(DoublingConv(channels, channels) for _ in range(_halvings(rate))))
            for rate in rates
        )

    def forward(self, codes: Tensor) -> Iterator[Tensor]:
        """The codes as each level below sees them, the nearest first."""
        for stage in self.stages:
            codes = stage(codes)
            yield codes
