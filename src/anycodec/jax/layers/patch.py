"""A linear path around an autoencoder: raw patches to latents and back (see torch's twin)."""

from __future__ import annotations

import jax
from flax import nnx
from numpy.random import Generator

from anycodec.jax.layers.linear import Linear
from anycodec.jax.layers.start import orthogonal


class PatchPath(nnx.Module):
    """Patches of `stride` samples <-> latents, inverse to each other at the start, in float32.

    Args:
        channels: C of the windows.
        dim: D of the latents.
        stride: samples of a patch.
        rng: of the initial basis.
    """

    def __init__(self, channels: int, dim: int, stride: int, rng: Generator) -> None:
        self.channels, self.stride = channels, stride
        basis = orthogonal(rng, dim, channels * stride)
        self.analysis = Linear(basis, bias=False)
        self.synthesis = Linear(nnx.Param(basis[...].T), bias=False)

    def analyse(self, x_BTC: jax.Array) -> jax.Array:
        """[B T C] -> [B T/f D]; a patch lists its channels one after the other, as torch's does."""
        batch, length, _ = x_BTC.shape
        patches = x_BTC.reshape(batch, length // self.stride, self.stride, self.channels).swapaxes(2, 3)
        return self.analysis(patches.reshape(batch, length // self.stride, -1))

    def synthesise(self, z_BTD: jax.Array) -> jax.Array:
        """[B T/f D] -> [B T C]."""
        batch, length, _ = z_BTD.shape
        patches = self.synthesis(z_BTD).reshape(batch, length, self.channels, self.stride)
        return patches.swapaxes(2, 3).reshape(batch, length * self.stride, self.channels)
