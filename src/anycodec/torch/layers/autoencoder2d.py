"""Encoder and decoder of the 2-D convolutional autoencoders (Esser et al. 2021, arXiv 2012.09841).

x [B C H W] -> patches as channels -> conv k3
            -> levels of (residual blocks [, attention], pad + strided conv)
            -> residual, attention, residual -> GroupNorm, swish, conv k3 -> 1x1 (quant) -> [B D H/f W/f]
back: 1x1 (post quant) -> conv k3 -> residual, attention, residual
       -> levels of (residual blocks [, attention], nearest x2 + conv)
       -> GroupNorm, swish, conv k3 -> channels as patches
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.codecs.autoencoder2d import Autoencoder2dSpec
from anycodec.torch.layers.attention import Attention2d
from anycodec.torch.layers.memory import channels_last
from anycodec.torch.layers.norm import group_norm


class ResBlock2d(nn.Module):
    """x + f(x), f = two of (GroupNorm, swish, conv k3); a 1x1 shortcut where widths differ."""

    def __init__(self, in_channels: int, out_channels: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels, groups)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(out_channels, groups)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        out: Tensor = self.shortcut(x) + h
        return out


class Downsample2d(nn.Module):
    """Zero padding below and at the right, then conv k3 with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


class Upsample2d(nn.Module):
    """Nearest neighbour x2, then conv k3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


def _mid(spec: Autoencoder2dSpec, width: int) -> nn.Sequential:
    blocks: list[nn.Module] = [ResBlock2d(width, width, spec.norm_groups, spec.dropout)]
    if spec.mid_attention:
        blocks.append(Attention2d(width, spec.norm_groups))
    blocks.append(ResBlock2d(width, width, spec.norm_groups, spec.dropout))
    return nn.Sequential(*blocks)


def _level(
    spec: Autoencoder2dSpec, blocks: int, in_channels: int, width: int, attention: bool
) -> nn.Sequential:
    """Residual blocks of a level, each followed by attention where asked for."""
    layers: list[nn.Module] = []
    for _ in range(blocks):
        layers.append(ResBlock2d(in_channels, width, spec.norm_groups, spec.dropout))
        if attention:
            layers.append(Attention2d(width, spec.norm_groups))
        in_channels = width
    return nn.Sequential(*layers)


class Encoder2d(nn.Module):
    """[B C H W] -> [B D H/f W/f].

    Args:
        spec: sizes.
        in_channels: C.
        out_channels: width of the last k3 convolution.
        quant_conv: from there to D channels.
    """

    def __init__(
        self, spec: Autoencoder2dSpec, in_channels: int, out_channels: int, quant_conv: nn.Module
    ) -> None:
        super().__init__()
        width = spec.base_channels
        self.patch = spec.patch_size
        self.conv_in = nn.Conv2d(in_channels * self.patch**2, width, 3, padding=1)
        levels: list[nn.Module] = []
        last = len(spec.widths) - 1
        for level, wider in enumerate(spec.widths):
            levels.append(_level(spec, spec.res_blocks, width, wider, level in spec.attention_levels))
            width = wider
            if level != last:
                levels.append(Downsample2d(width))
        self.levels = nn.Sequential(*levels)
        self.mid = _mid(spec, width)
        self.norm_out = group_norm(width, spec.norm_groups)
        self.conv_out = nn.Conv2d(width, out_channels, 3, padding=1)
        self.quant_conv = quant_conv

    def forward(self, x: Tensor) -> Tensor:
        h = self.mid(self.levels(self.conv_in(channels_last(F.pixel_unshuffle(x, self.patch)))))
        z: Tensor = self.quant_conv(self.conv_out(F.silu(self.norm_out(h))))
        return z


class Decoder2d(nn.Module):
    """[B D H/f W/f] -> [B C H W].

    taming upsamples after the residual blocks of every level but the finest, dome272 of every level but
    the coarsest: there, all blocks work at half the resolution, those of the two coarsest levels alike.
    """

    def __init__(self, spec: Autoencoder2dSpec, out_channels: int) -> None:
        super().__init__()
        last = len(spec.widths) - 1
        width = spec.widths[last]
        self.post_quant_conv = nn.Conv2d(spec.code_channels, spec.latent_channels, 1)
        self.conv_in = nn.Conv2d(spec.latent_channels, width, 3, padding=1)
        self.mid = _mid(spec, width)
        blocks = spec.decoder_res_blocks or spec.res_blocks + 1
        late = spec.backbone == "dome272"
        levels: list[nn.Module] = []
        for level in range(last, -1, -1):
            narrower = spec.widths[level]
            resolution = min(level + 1, last) if late else level
            attention = resolution in spec.attention_levels
            levels.append(_level(spec, blocks, width, narrower, attention))
            width = narrower
            if level != (last if late else 0):
                levels.append(Upsample2d(width))
        self.levels = nn.Sequential(*levels)
        self.norm_out = group_norm(width, spec.norm_groups)
        self.patch = spec.patch_size
        self.conv_out = nn.Conv2d(width, out_channels * self.patch**2, 3, padding=1)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Latents [B D h w] -> [B C H W]; `condition` is added to what the 1x1 convolution gives."""
        h = self.post_quant_conv(channels_last(z))
        h = self.levels(self.mid(self.conv_in(h if condition is None else h + condition)))
        x: Tensor = F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(h))), self.patch)
        return x
