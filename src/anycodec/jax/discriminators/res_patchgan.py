"""PatchGAN with residual blocks."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from numpy.random import Generator

from anycodec.config.discriminator import ResPatchGanSpec
from anycodec.jax.discriminators.base import Discriminator, Judgement, judge
from anycodec.jax.discriminators.layers import convolution, has_bias, leaky_relu, normalisation


class ResidualBlock(nnx.Module):
    """x + f(f(x)), f: normalisation, LeakyReLU, convolution of kernel 3."""

    def __init__(self, channels: int, norm: str, *, dtype: jnp.dtype, rng: Generator) -> None:
        self.norms = nnx.List([normalisation(norm, channels, rng) for _ in range(2)])
        self.convs = nnx.List(
            [
                convolution(
                    channels,
                    channels,
                    3,
                    stride=1,
                    padding=1,
                    bias=last or has_bias(norm),
                    dtype=dtype,
                    rng=rng,
                )
                for last in (False, True)
            ]
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        h = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h = conv(leaky_relu(norm(h)))
        return x + h


class Level(nnx.Module):
    """Convolution of stride 2, LeakyReLU, residual blocks."""

    def __init__(
        self, spec: ResPatchGanSpec, in_channels: int, out_channels: int, *, dtype: jnp.dtype, rng: Generator
    ) -> None:
        padding = (spec.kernel - 1) // 2
        self.down = convolution(
            in_channels,
            out_channels,
            spec.kernel,
            stride=2,
            padding=padding,
            bias=True,
            dtype=dtype,
            rng=rng,
        )
        self.blocks = nnx.List(
            [ResidualBlock(out_channels, spec.norm, dtype=dtype, rng=rng) for _ in range(spec.res_blocks)]
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        h = leaky_relu(self.down(x))
        for block in self.blocks:
            h = block(h)
        return h


class ResPatchGan(Discriminator):
    """A level a width, then a convolution of kernel 3 to one logit a patch; features: those of the levels."""

    def __init__(self, spec: ResPatchGanSpec, channels: int, *, dtype: jnp.dtype, rng: Generator) -> None:
        widths = (channels, *spec.channels)
        self.levels = nnx.List([Level(spec, *pair, dtype=dtype, rng=rng) for pair in pairwise(widths)])
        self.head = convolution(widths[-1], 1, 3, stride=1, padding=1, bias=True, dtype=dtype, rng=rng)

    def __call__(self, x: jax.Array) -> Judgement:
        return judge(x, self.levels, lambda h: self.head(leaky_relu(h)))
