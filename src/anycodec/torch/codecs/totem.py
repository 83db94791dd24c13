"""1-D autoencoder of TOTEM (Talukder et al. 2024, arXiv 2402.16412).

x [B 1 T] -> strided convs, each with a ReLU -> conv k3 -> residual layers, ReLU -> 1x1 -> [B D T/f]
back: conv k3 -> residual layers, ReLU -> transposed convs with ReLUs between -> x^ [B 1 T]
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.codecs.totem import TotemSpec
from anycodec.torch.codecs.base import Autoencoder
from anycodec.torch.layers.affine import ChannelAffine
from anycodec.torch.layers.conv1d import ConvTranspose1d, PaddedConv1d
from anycodec.torch.layers.patch import PatchPath
from anycodec.torch.quantizers import make_quantizer

EXTRA_STRIDES = {4: (), 8: (2,), 12: (3,), 16: (2, 2)}
"""Strides after the two of the first layers, by compression factor."""
_UP_KERNELS = {2: 4, 3: 5}
"""Kernels of transposed convolutions that give stride * T samples with a padding of 1."""


class ResLayer(nn.Module):
    """r + f(r) with r = relu(x), f = conv k3, ReLU, 1x1, both without bias.

    The published layer's first ReLU works in place, so its skip path carries r too.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = PaddedConv1d(channels, hidden, 3, padding=1, bias=False)
        self.conv2 = PaddedConv1d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        r = F.relu(x)
        out: Tensor = r + self.conv2(F.relu(self.conv1(r)))
        return out


def _residual_stack(spec: TotemSpec) -> nn.Sequential:
    layers = (ResLayer(spec.hidden_channels, spec.res_channels) for _ in range(spec.res_layers))
    return nn.Sequential(*layers, nn.ReLU())


def _strides(spec: TotemSpec) -> tuple[int, ...]:
    return (2, 2, *EXTRA_STRIDES[spec.compression_factor])


def _widths(spec: TotemSpec, channels: int) -> list[int]:
    """Channels before, between and after the strided convolutions, from full resolution on."""
    hidden = spec.hidden_channels
    return [channels, hidden // 2] + [hidden] * (len(_strides(spec)) - 1)


class TotemEncoder(nn.Module):
    """[B C T] -> latents [B D T/f]."""

    def __init__(self, spec: TotemSpec, in_channels: int) -> None:
        super().__init__()
        hidden = spec.hidden_channels
        widths = pairwise(_widths(spec, in_channels))
        self.down = nn.ModuleList(
            PaddedConv1d(a, b, 4, stride=stride, padding=1)
            for (a, b), stride in zip(widths, _strides(spec), strict=True)
        )
        self.conv_mid = PaddedConv1d(hidden, hidden, 3, padding=1)
        self.residual = _residual_stack(spec)
        self.conv_out = PaddedConv1d(hidden, spec.latent_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x[:, :, None].contiguous(memory_format=torch.channels_last)
        for layer in self.down:
            h = F.relu(layer(h))
        z: Tensor = self.conv_out(self.residual(self.conv_mid(h)))
        return z[:, :, 0]


class TotemDecoder(nn.Module):
    """Latents [B D T/f] -> [B C T]."""

    def __init__(self, spec: TotemSpec, out_channels: int) -> None:
        super().__init__()
        self.conv_in = PaddedConv1d(spec.latent_channels, spec.hidden_channels, 3, padding=1)
        self.residual = _residual_stack(spec)
        widths = pairwise(reversed(_widths(spec, out_channels)))
        self.up = nn.ModuleList(
            ConvTranspose1d(a, b, _UP_KERNELS[stride], stride=stride, padding=1)
            for (a, b), stride in zip(widths, reversed(_strides(spec)), strict=True)
        )

    def forward(self, z: Tensor) -> Tensor:
        h = z[:, :, None].contiguous(memory_format=torch.channels_last)
        x: Tensor = self.residual(self.conv_in(h))
        for i, layer in enumerate(self.up):
            x = layer(F.relu(x) if i else x)
        return x[:, :, 0]


class Totem(Autoencoder):
    """Encoder and decoder around any quantizer; they work on whole windows, or on patches of them.

    Windows of several channels go through the networks together, or, with `per_channel`, each channel by
    itself: latents [B C*D g] then hold those of one channel after the other.
    """

    decoder: TotemDecoder

    def __init__(self, spec: TotemSpec, in_channels: int) -> None:
        super().__init__()
        self.stride = spec.stride
        self.parts = in_channels if spec.per_channel else 1
        self.patch = spec.patch
        self.factor = spec.compression_factor
        self.affine = ChannelAffine(in_channels) if spec.affine else None
        channels = in_channels // self.parts
        self.encoder = TotemEncoder(spec, channels)
        self.quantizer = make_quantizer(spec.quantizer, self.parts * spec.latent_channels)
        self.decoder = TotemDecoder(spec, channels)
        if spec.patch_skip:
            patches = PatchPath(channels, spec.latent_channels, (spec.compression_factor,))
            self._start_with(patches, self.encoder.conv_out, self.decoder.up[-1])

    def last_layer(self) -> Tensor:
        last = self.decoder.up[-1]
        assert isinstance(last, ConvTranspose1d)
        return last.weight

    def _latents(self, x: Tensor) -> Tensor:
        h = x if self.affine is None else self.affine(x)
        return self._joined(super()._latents(self._pieces(h, self.patch or x.shape[2])), len(x))

    def _reconstruct(self, z: Tensor) -> Tensor:
        length = self.patch // self.factor if self.patch else z.shape[2]
        x = self._joined(super()._reconstruct(self._pieces(z, length)), len(z))
        return x if self.affine is None else self.affine.inverse(x)

    def _pieces(self, x: Tensor, length: int) -> Tensor:
        """[B P*C n*length] -> [B*P*n C length], P parts of the channels and n patches."""
        batch, channels, extent = x.shape
        pieces = x.reshape(batch, self.parts, channels // self.parts, extent // length, length)
        return pieces.transpose(2, 3).reshape(-1, channels // self.parts, length)

    def _joined(self, pieces: Tensor, batch: int) -> Tensor:
        """[B*P*n C length] -> [B P*C n*length]."""
        _, channels, length = pieces.shape
        x = pieces.reshape(batch, self.parts, -1, channels, length).transpose(2, 3)
        return x.reshape(batch, self.parts * channels, -1)
