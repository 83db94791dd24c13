"""1-D residual convolutional autoencoder: the nanopore system's, and used for time series.

x [B C T] -> conv (stem) -> stages of (residual blocks, strided conv) -> mid blocks
          -> GroupNorm, swish, 1x1 -> 1x1 (quant) -> tokens [B T/f]
tokens -> 1x1 (post quant) -> conv k3 -> mid blocks -> stages of (upsample, residual blocks)
       -> GroupNorm, swish, conv or upsample (stem) -> x^ [B C T]
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.codec import SimVqganSpec
from anycodec.torch.codecs.base import Autoencoder
from anycodec.torch.layers.conv1d import Conv1d, Upsample1d
from anycodec.torch.layers.norm import group_norm
from anycodec.torch.layers.patch import PatchPath
from anycodec.torch.quantizers import make_quantizer


class ResBlock1d(nn.Module):
    """x + f(x), f = two of (GroupNorm, swish, conv k3 without bias); a k3 shortcut where widths differ."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels, groups)
        self.conv1 = Conv1d(in_channels, out_channels, 3, bias=False)
        self.norm2 = group_norm(out_channels, groups)
        self.conv2 = Conv1d(out_channels, out_channels, 3, bias=False)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else Conv1d(in_channels, out_channels, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = self.shortcut(x) + h
        return out


def _res_blocks(count: int, in_channels: int, out_channels: int, groups: int) -> nn.Sequential:
    widths = [in_channels] + [out_channels] * count
    return nn.Sequential(*(ResBlock1d(a, b, groups) for a, b in pairwise(widths)))


class Encoder1d(nn.Module):
    """[B C T] -> latents [B D T/f]."""

    def __init__(self, spec: SimVqganSpec, in_channels: int) -> None:
        super().__init__()
        width, groups = spec.base_channels, spec.norm_groups
        kernel = 3 if spec.stem_stride == 1 else 2 * spec.stem_stride + 1
        self.conv_in = Conv1d(in_channels, width, kernel, stride=spec.stem_stride)
        stages: list[nn.Module] = []
        for channels, stride in zip(spec.channels, spec.strides, strict=True):
            stages.append(_res_blocks(spec.res_blocks, width, channels, groups))
            stages.append(
                Conv1d(channels if spec.res_blocks else width, channels, max(3, stride), stride=stride)
            )
            width = channels
        self.stages = nn.Sequential(*stages)
        self.mid = _res_blocks(spec.mid_blocks, width, width, groups)
        self.norm_out = group_norm(width, groups)
        self.conv_out = Conv1d(width, spec.latent_channels, 1)
        self.quant_conv = Conv1d(spec.latent_channels, spec.latent_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x[:, :, None].contiguous(memory_format=torch.channels_last)
        h = self.mid(self.stages(self.conv_in(h)))
        z: Tensor = self.quant_conv(self.conv_out(F.silu(self.norm_out(h))))
        return z[:, :, 0]


class Decoder1d(nn.Module):
    """Latents [B D T/f] -> [B C T]."""

    def __init__(self, spec: SimVqganSpec, out_channels: int) -> None:
        super().__init__()
        width, groups = spec.channels[-1], spec.norm_groups
        self.post_quant_conv = Conv1d(spec.latent_channels, spec.latent_channels, 1)
        self.conv_in = Conv1d(spec.latent_channels, width, 3)
        self.mid = _res_blocks(spec.mid_blocks, width, width, groups)
        stages: list[nn.Module] = []
        narrower = (spec.base_channels, *spec.channels[:-1])
        for channels, stride in zip(reversed(narrower), reversed(spec.strides), strict=True):
            stages += [
                Upsample1d(width, channels, stride),
                _res_blocks(spec.res_blocks, channels, channels, groups),
            ]
            width = channels
        self.stages = nn.Sequential(*stages)
        self.norm_out = group_norm(width, groups)
        self.conv_out = (
            Conv1d(width, out_channels, 3)
            if spec.stem_stride == 1
            else Upsample1d(width, out_channels, spec.stem_stride)
        )
        self.tanh = spec.output_activation == "tanh"

    def forward(self, z: Tensor) -> Tensor:
        h = z[:, :, None].contiguous(memory_format=torch.channels_last)
        h = self.stages(self.mid(self.conv_in(self.post_quant_conv(h))))
        x: Tensor = self.conv_out(F.silu(self.norm_out(h)))[:, :, 0]
        return torch.tanh(x) if self.tanh else x


class SimVqgan(Autoencoder):
    """Encoder and decoder around any quantizer."""

    decoder: Decoder1d

    def __init__(self, spec: SimVqganSpec, in_channels: int) -> None:
        super().__init__()
        self.stride = spec.stride
        self.encoder = Encoder1d(spec, in_channels)
        self.quantizer = make_quantizer(spec.quantizer, spec.latent_channels)
        self.decoder = Decoder1d(spec, in_channels)
        if spec.patch_skip:
            patches = PatchPath(in_channels, spec.latent_channels, spec.stride)
            self._start_with(patches, self.encoder.quant_conv, self.decoder.conv_out)

    def last_layer(self) -> Tensor:
        last = self.decoder.conv_out
        return last.conv.weight if isinstance(last, Upsample1d) else last.weight
