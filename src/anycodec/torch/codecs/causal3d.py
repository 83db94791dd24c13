"""Causal 3-D convolutional autoencoder of clips, in the manner of MAGVIT-v2 (arXiv 2310.05737).

x [B C T H W] -> conv (stem) -> stages of (residual blocks, strided conv) -> mid blocks
              -> norm, swish, 1x1x1 -> 1x1x1 (quant) -> tokens [B T/ft H/fs W/fs]
tokens -> 1x1x1 (post quant) -> conv k3 -> mid blocks -> stages of (upsample, residual blocks)
       -> norm, swish, conv or upsample (stem) -> x^ [B C T H W]

A token knows the ft frames it covers and all before them; T = ft n frames give n token frames.
(The other convention, 1 + ft n frames with a first frame coded alone as a picture, would make the first
chunk of a video unlike all others; here every chunk of ft frames is treated alike.)
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.codecs.causal3d import Causal3dSpec
from anycodec.torch.codecs.base import Autoencoder
from anycodec.torch.codecs.streaming import StreamingCodec
from anycodec.torch.layers.causal3d import (
    CausalConv3d,
    CausalResBlock3d,
    CausalSequential,
    CausalUpsample3d,
    FrameNorm,
    Past,
)
from anycodec.torch.layers.patch import PatchPath
from anycodec.torch.quantizers import Quantized, TokenGrids, make_quantizer
from anycodec.torch.quantizers.differences import quantized_differences, summed_over_time


def _res_blocks(count: int, in_channels: int, out_channels: int, groups: int) -> CausalSequential:
    widths = [in_channels] + [out_channels] * count
    return CausalSequential(CausalResBlock3d(a, b, groups) for a, b in pairwise(widths))


def _strides(spec: Causal3dSpec) -> list[tuple[int, int]]:
    return list(zip(spec.time_strides, spec.space_strides, strict=True))


class Encoder3d(nn.Module):
    """[B C T H W] -> latents [B D T/ft H/fs W/fs]."""

    def __init__(self, spec: Causal3dSpec, in_channels: int) -> None:
        super().__init__()
        width, groups = spec.base_channels, spec.norm_groups
        stem = 3 if spec.stem_stride == 1 else 2 * spec.stem_stride + 1
        self.conv_in = CausalConv3d(in_channels, width, (3, stem), (1, spec.stem_stride))
        stages: list[nn.Module] = []
        for channels, (time, space) in zip(spec.channels, _strides(spec), strict=True):
            stages.append(_res_blocks(spec.res_blocks, width, channels, groups))
            width = channels if spec.res_blocks else width
            kernel = max(3, time), max(3, space)
            stages.append(CausalConv3d(width, channels, kernel, (time, space)))
            width = channels
        self.stages = CausalSequential(stages)
        self.mid = _res_blocks(spec.mid_blocks, width, width, groups)
        self.norm_out = FrameNorm(width, groups)
        self.conv_out = nn.Conv3d(width, spec.latent_channels, 1)
        self.quant_conv = nn.Conv3d(spec.latent_channels, spec.latent_channels, 1)

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        h = self.conv_in(x.contiguous(memory_format=torch.channels_last_3d), past)
        h = self.mid(self.stages(h, past), past)
        z: Tensor = self.quant_conv(self.conv_out(F.silu(self.norm_out(h))))
        return z


class Decoder3d(nn.Module):
    """Latents [B D T/ft H/fs W/fs] -> [B C T H W]."""

    def __init__(self, spec: Causal3dSpec, out_channels: int) -> None:
        super().__init__()
        width, groups = spec.channels[-1], spec.norm_groups
        self.post_quant_conv = nn.Conv3d(spec.latent_channels, spec.latent_channels, 1)
        self.conv_in = CausalConv3d(spec.latent_channels, width, (3, 3))
        self.mid = _res_blocks(spec.mid_blocks, width, width, groups)
        stages: list[nn.Module] = []
        narrower = (spec.base_channels, *spec.channels[:-1])
        for channels, factor in zip(reversed(narrower), reversed(_strides(spec)), strict=True):
            stages.append(CausalUpsample3d(width, channels, factor))
            stages.append(_res_blocks(spec.res_blocks, channels, channels, groups))
            width = channels
        self.stages = CausalSequential(stages)
        self.norm_out = FrameNorm(width, groups)
        self.conv_out = (
            CausalConv3d(width, out_channels, (3, 3))
            if spec.stem_stride == 1
            else CausalUpsample3d(width, out_channels, (1, spec.stem_stride))
        )

    def forward(self, z: Tensor, past: Past | None = None) -> Tensor:
        z = z.contiguous(memory_format=torch.channels_last_3d)
        h = self.conv_in(self.post_quant_conv(z), past)
        h = self.stages(self.mid(h, past), past)
        x: Tensor = self.conv_out(F.silu(self.norm_out(h)), past)
        return x


class Causal3d(Autoencoder, StreamingCodec):
    """Encoder and decoder around any quantizer."""

    encoder: Encoder3d
    decoder: Decoder3d

    def __init__(self, spec: Causal3dSpec, in_channels: int) -> None:
        super().__init__()
        self.stride = spec.stride
        self.differences = spec.differences
        self.encoder = Encoder3d(spec, in_channels)
        self.quantizer = make_quantizer(spec.quantizer, spec.latent_channels)
        self.decoder = Decoder3d(spec, in_channels)
        if spec.patch_skip:
            patches = PatchPath(in_channels, spec.latent_channels, spec.stride)
            if spec.latent_channels < in_channels * math.prod(spec.stride):
                patches.start_with_low_frequencies()
            self._start_with(patches, self.encoder.quant_conv, self.decoder.conv_out)

    def last_layer(self) -> Tensor:
        last = self.decoder.conv_out
        return last.conv.weight if isinstance(last, CausalUpsample3d) else last.weight

    def encode_chunk(self, x: Tensor, past: Past) -> TokenGrids:
        return self._quantize(x, past).tokens

    def decode_chunk(self, tokens: TokenGrids, past: Past) -> Tensor:
        values = self.quantizer.lookup(tokens)
        if self.differences:
            values = summed_over_time(self.quantizer, values, past)
        return self._reconstruct(values, past)

    def decode(self, tokens: TokenGrids) -> Tensor:
        return self.decode_chunk(tokens, {})

    def _quantize(self, x: Tensor, past: Past | None = None) -> Quantized:
        self.check_size(x)
        z = self._latents(x, past)
        if self.differences:
            return quantized_differences(self.quantizer, z, {} if past is None else past)
        quantized: Quantized = self.quantizer(z)
        return quantized

    def _to_quantize(self, x: Tensor) -> Tensor:
        z = self._latents(x)
        return torch.cat([z[:, :, :1], z.diff(dim=2)], dim=2) if self.differences else z

    def _latents(self, x: Tensor, past: Past | None = None) -> Tensor:
        z: Tensor = self.encoder(x, past)
        return z if self.patches is None else z + self.patches.analyse(x)

    def _reconstruct(self, z: Tensor, past: Past | None = None) -> Tensor:
        x: Tensor = self.decoder(z, past)
        return x if self.patches is None else x + self.patches.synthesise(z)
