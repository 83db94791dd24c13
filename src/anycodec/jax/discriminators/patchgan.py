"""PatchGAN."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from numpy.random import Generator

from anycodec.config.discriminator import PatchGanSpec
from anycodec.jax.discriminators.base import Discriminator, Judgement, judge
from anycodec.jax.discriminators.layers import convolution, has_bias, leaky_relu, normalisation


class PatchLayer(nnx.Module):
    """Convolution of kernel 4, normalisation, LeakyReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        norm: str,
        dtype: jnp.dtype,
        rng: Generator,
    ) -> None:
        bias = has_bias(norm)
        self.conv = convolution(
            in_channels, out_channels, 4, stride=stride, padding=1, bias=bias, dtype=dtype, rng=rng
        )
        self.norm = normalisation(norm, out_channels, rng)

    def __call__(self, x: jax.Array) -> jax.Array:
        return leaky_relu(self.norm(self.conv(x)))


class PatchGan(Discriminator):
    """`layers` strided layers, the first without normalisation, one of stride 1, then one logit a patch.

    The features are the outputs of the layers.
    """

    def __init__(self, spec: PatchGanSpec, channels: int, *, dtype: jnp.dtype, rng: Generator) -> None:
        widths = [spec.base_channels * min(2**n, 8) for n in range(spec.layers + 1)]
        layers = [PatchLayer(channels, widths[0], stride=2, norm="none", dtype=dtype, rng=rng)]
        for n in range(1, spec.layers + 1):
            stride = 2 if n < spec.layers else 1
            layers.append(
                PatchLayer(widths[n - 1], widths[n], stride=stride, norm=spec.norm, dtype=dtype, rng=rng)
            )
        self.layers = nnx.List(layers)
        self.head = convolution(widths[-1], 1, 4, stride=1, padding=1, bias=True, dtype=dtype, rng=rng)

    def __call__(self, x: jax.Array) -> Judgement:
        return judge(x, self.layers, self.head)
