"""1-D convolutions of [B T C] along T. Parameters are stored in float32 as torch has them, [O I k]."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from numpy.random import Generator

from anycodec.jax.layers.start import uniform


class Conv1d(nnx.Module):
    """Convolution with SAME padding, T / stride samples come out; or with `padding` zeros at both ends.

    Args:
        in_channels: I.
        out_channels: O.
        kernel: k.
        stride: samples from one output to the next.
        bias: add a bias.
        padding: zeros at either end; None = SAME.
        dtype: in which it computes.
        rng: of the initial parameters.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        bias: bool = True,
        padding: int | None = None,
        dtype: jnp.dtype,
        rng: Generator,
    ) -> None:
        fan_in = in_channels * kernel
        self.weight = uniform(rng, (out_channels, in_channels, kernel), fan_in)
        self.bias = uniform(rng, (out_channels,), fan_in) if bias else None
        total = max(kernel - stride, 0)
        same = (total // 2, total - total // 2)
        self.stride, self.padding = stride, same if padding is None else (padding, padding)
        self.dtype = dtype

    def __call__(self, x_BTC: jax.Array) -> jax.Array:
        x_BTC, weight_OIk = x_BTC.astype(self.dtype), self.weight[...].astype(self.dtype)
        if self.stride == weight_OIk.shape[2] > 1 and self.padding == (0, 0):
            y_BTO = _of_patches(x_BTC, weight_OIk)
        else:
            numbers = ("NWC", "OIW", "NWC")
            y_BTO = lax.conv_general_dilated(
                x_BTC, weight_OIk, (self.stride,), (self.padding,), dimension_numbers=numbers
            )
        return y_BTO if self.bias is None else y_BTO + self.bias[...].astype(self.dtype)


def _of_patches(x_BTC: jax.Array, weight_OIk: jax.Array) -> jax.Array:
    """A convolution whose kernel is as long as its stride; XLA on CPU takes twice as long for it."""
    kernel = weight_OIk.shape[2]
    batch, length, width = x_BTC.shape
    patches = x_BTC.reshape(batch, length // kernel, kernel * width)
    return patches @ weight_OIk.transpose(2, 1, 0).reshape(kernel * width, -1)


class Upsample1d(nnx.Module):
    """Convolution to O * factor channels, then interleaved along T: [B T C] -> [B T * factor O].

    XLA on CPU is slower by orders of magnitude with transposed convolutions.
    """

    def __init__(
        self, in_channels: int, out_channels: int, factor: int, *, dtype: jnp.dtype, rng: Generator
    ) -> None:
        self.factor = factor
        self.conv = Conv1d(in_channels, out_channels * factor, 3, dtype=dtype, rng=rng)

    def __call__(self, x_BTC: jax.Array) -> jax.Array:
        y = self.conv(x_BTC)
        batch, length, width = y.shape
        return y.reshape(batch, length * self.factor, width // self.factor)
