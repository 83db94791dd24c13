"""Layers of discriminators on [B T C]."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from numpy.random import Generator

from anycodec.jax.layers.conv1d import Conv1d
from anycodec.jax.layers.norm import GroupNorm, affine, group_norm, moments
from anycodec.jax.layers.start import constant, normal
from anycodec.jax.variables import Buffer, count

SLOPE = 0.2
"""Of LeakyReLU below zero (Radford 2016)."""
GROUPS = 32
DEVIATION = 0.02
"""Of initial weights (Radford 2016)."""
EPSILON = 1e-5
MOMENTUM = 0.1
"""Share of a batch in the running statistics."""


def convolution(
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    stride: int,
    padding: int,
    bias: bool,
    dtype: jnp.dtype,
    rng: Generator,
) -> Conv1d:
    """Convolution with `padding` zeros at both ends, weights N(0, 0.02^2), bias 0."""
    conv = Conv1d(in_channels, out_channels, kernel, stride, bias=bias, padding=padding, dtype=dtype, rng=rng)
    conv.weight = normal(rng, (out_channels, in_channels, kernel), 0.0, DEVIATION)
    conv.bias = constant(0.0, out_channels) if bias else None
    return conv


def has_bias(norm: str) -> bool:
    """Whether a convolution before such a normalisation needs a bias."""
    return norm == "none"


def leaky_relu(x: jax.Array) -> jax.Array:
    """LeakyReLU with the slope of discriminators."""
    return jax.nn.leaky_relu(x, SLOPE)


class Unchanged(nnx.Module):
    """No normalisation."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x


class BatchNorm(nnx.Module):
    """(x - mean) / deviation a channel over the batch, then gamma, from N(1, 0.02^2), and beta.

    Running statistics are kept for the file, with the unbiased variance, as torch keeps them.
    """

    def __init__(self, channels: int, rng: Generator) -> None:
        self.weight, self.bias = normal(rng, (channels,), 1.0, DEVIATION), constant(0.0, channels)
        self.running_mean, self.running_var = Buffer(jnp.zeros(channels)), Buffer(jnp.ones(channels))
        self.num_batches_tracked = count()

    def __call__(self, x_BTC: jax.Array) -> jax.Array:
        mean_C, variance_C = (of_BC[0] for of_BC in moments(x_BTC.reshape(1, -1, x_BTC.shape[2])))
        values = x_BTC.shape[0] * x_BTC.shape[1]
        for running, value in (
            (self.running_mean, mean_C),
            (self.running_var, variance_C * values / (values - 1)),
        ):
            running[...] += MOMENTUM * (jax.lax.stop_gradient(value) - running[...])
        self.num_batches_tracked[...] += 1
        a_C = jax.lax.rsqrt(variance_C + EPSILON) * self.weight[...]
        return affine(x_BTC, a_C[None], (self.bias[...] - mean_C * a_C)[None])


def normalisation(norm: str, channels: int, rng: Generator) -> Unchanged | GroupNorm | BatchNorm:
    """Normalisation with an affine map a channel."""
    if norm == "group":
        return group_norm(channels, GROUPS)
    if norm == "instance":
        return GroupNorm(channels, channels, EPSILON)
    return BatchNorm(channels, rng) if norm == "batch" else Unchanged()
