"""1-D residual convolutional autoencoder: the nanopore system's, and used for time series.

x [B T C] -> conv (stem) -> stages of (residual blocks, strided conv) -> mid blocks
          -> GroupNorm, swish, 1x1 -> 1x1 (quant) -> tokens [B T/f]
tokens -> 1x1 (post quant) -> conv k3 -> mid blocks -> stages of (upsample, residual blocks)
       -> GroupNorm, swish, conv or upsample (stem) -> x^ [B T C]
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from numpy.random import Generator

from anycodec.config.codec import SimVqganSpec
from anycodec.jax.codecs.base import Autoencoder
from anycodec.jax.layers.conv1d import Conv1d, Upsample1d
from anycodec.jax.layers.norm import group_norm
from anycodec.jax.layers.patch import PatchPath
from anycodec.jax.quantizers import make_quantizer


class ResBlock1d(nnx.Module):
    """x + f(x), f = two of (GroupNorm, swish, conv k3 without bias); a k3 shortcut where widths differ."""

    def __init__(
        self, in_channels: int, out_channels: int, groups: int, *, dtype: jnp.dtype, rng: Generator
    ) -> None:
        def conv(width: int) -> Conv1d:
            return Conv1d(width, out_channels, 3, bias=False, dtype=dtype, rng=rng)

        self.norm1, self.conv1 = group_norm(in_channels, groups), conv(in_channels)
        self.norm2, self.conv2 = group_norm(out_channels, groups), conv(out_channels)
        self.shortcut = None if in_channels == out_channels else conv(in_channels)

    def __call__(self, x: jax.Array) -> jax.Array:
        h = self.conv1(jax.nn.silu(self.norm1(x)))
        h = self.conv2(jax.nn.silu(self.norm2(h)))
        return h + (x if self.shortcut is None else self.shortcut(x))


class Chain(nnx.List[nnx.Module]):
    """Modules one after the other; their names are their numbers, as in torch's Sequential."""

    def __call__(self, x: jax.Array) -> jax.Array:
        for module in self:
            x = module(x)
        return x


def _res_blocks(
    count: int, in_channels: int, out_channels: int, groups: int, *, dtype: jnp.dtype, rng: Generator
) -> Chain:
    widths = [in_channels] + [out_channels] * count
    return Chain(ResBlock1d(a, b, groups, dtype=dtype, rng=rng) for a, b in pairwise(widths))


class Encoder1d(nnx.Module):
    """[B T C] -> latents [B T/f D]."""

    def __init__(self, spec: SimVqganSpec, in_channels: int, *, dtype: jnp.dtype, rng: Generator) -> None:
        def conv(narrow: int, wide: int, kernel: int, stride: int = 1) -> Conv1d:
            return Conv1d(narrow, wide, kernel, stride, dtype=dtype, rng=rng)

        width, groups = spec.base_channels, spec.norm_groups
        kernel = 3 if spec.stem_stride == 1 else 2 * spec.stem_stride + 1
        self.conv_in = conv(in_channels, width, kernel, spec.stem_stride)
        stages: list[nnx.Module] = []
        for channels, stride in zip(spec.channels, spec.strides, strict=True):
            blocks = _res_blocks(spec.res_blocks, width, channels, groups, dtype=dtype, rng=rng)
            entering = channels if spec.res_blocks else width
            stages += [blocks, conv(entering, channels, max(3, stride), stride)]
            width = channels
        self.stages = Chain(stages)
        self.mid = _res_blocks(spec.mid_blocks, width, width, groups, dtype=dtype, rng=rng)
        self.norm_out = group_norm(width, groups)
        self.conv_out = conv(width, spec.latent_channels, 1)
        self.quant_conv = conv(spec.latent_channels, spec.latent_channels, 1)

    def __call__(self, x: jax.Array) -> jax.Array:
        h = self.mid(self.stages(self.conv_in(x)))
        return self.quant_conv(self.conv_out(jax.nn.silu(self.norm_out(h))))


class Decoder1d(nnx.Module):
    """Latents [B T/f D] -> [B T C]."""

    def __init__(self, spec: SimVqganSpec, out_channels: int, *, dtype: jnp.dtype, rng: Generator) -> None:
        def conv(narrow: int, wide: int, kernel: int) -> Conv1d:
            return Conv1d(narrow, wide, kernel, dtype=dtype, rng=rng)

        def up(wide: int, narrow: int, factor: int) -> Upsample1d:
            return Upsample1d(wide, narrow, factor, dtype=dtype, rng=rng)

        width, groups = spec.channels[-1], spec.norm_groups
        self.post_quant_conv = conv(spec.latent_channels, spec.latent_channels, 1)
        self.conv_in = conv(spec.latent_channels, width, 3)
        self.mid = _res_blocks(spec.mid_blocks, width, width, groups, dtype=dtype, rng=rng)
        stages: list[nnx.Module] = []
        narrower = (spec.base_channels, *spec.channels[:-1])
        for channels, stride in zip(reversed(narrower), reversed(spec.strides), strict=True):
            blocks = _res_blocks(spec.res_blocks, channels, channels, groups, dtype=dtype, rng=rng)
            stages += [up(width, channels, stride), blocks]
            width = channels
        self.stages = Chain(stages)
        self.norm_out = group_norm(width, groups)
        stem = spec.stem_stride
        self.conv_out = conv(width, out_channels, 3) if stem == 1 else up(width, out_channels, stem)
        self.tanh = spec.output_activation == "tanh"

    def __call__(self, z: jax.Array) -> jax.Array:
        h = self.stages(self.mid(self.conv_in(self.post_quant_conv(z))))
        x = self.conv_out(jax.nn.silu(self.norm_out(h)))
        return jnp.tanh(x) if self.tanh else x


class SimVqgan(Autoencoder):
    """Encoder and decoder around any quantizer."""

    decoder: Decoder1d

    def __init__(self, spec: SimVqganSpec, in_channels: int, *, dtype: jnp.dtype, rng: Generator) -> None:
        self.stride = spec.stride
        self.encoder = Encoder1d(spec, in_channels, dtype=dtype, rng=rng)
        self.quantizer = make_quantizer(spec.quantizer, spec.latent_channels, rng)
        self.decoder = Decoder1d(spec, in_channels, dtype=dtype, rng=rng)
        self.patches = (
            PatchPath(in_channels, spec.latent_channels, spec.stride[0], rng) if spec.patch_skip else None
        )
        if spec.patch_skip:
            _silence(self.encoder.quant_conv, self.decoder.conv_out)

    def last_layer(self) -> str:
        inner = ".conv" if isinstance(self.decoder.conv_out, Upsample1d) else ""
        return f"decoder.conv_out{inner}.weight"


def _silence(*layers: nnx.Module) -> None:
    """Set all parameters to zero, so that the linear path around them starts alone."""
    for layer in layers:
        for parameter in _parameters(layer):
            parameter[...] = jnp.zeros_like(parameter[...])


def _parameters(layer: nnx.Module) -> Iterable[nnx.Param[jax.Array]]:
    return (node for _, node in nnx.iter_graph(layer) if isinstance(node, nnx.Param))
