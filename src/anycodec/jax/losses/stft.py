"""Multi-resolution STFT loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from anycodec.config.loss import StftSpec
from anycodec.jax.losses.base import Loss, absolute

FLOOR = 1e-7
"""Least power of a bin: keeps the logarithm, and the gradient of the root, finite."""


class Stft(Loss):
    """Mean over resolutions of spectral convergence and log-magnitude error (Yamamoto 2020).

    || |S(x)| - |S(x^)| ||_F / || |S(x)| ||_F  +  mean |log |S(x)| - log |S(x^)||

    S: short-time Fourier transform with a Hann window, frames a quarter apart, mirrored at both ends;
    norms over the batch.
    """

    def __init__(self, spec: StftSpec) -> None:
        self.n_fft = spec.n_fft

    def __call__(self, reconstruction: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.stack([distance(reconstruction, target, n_fft) for n_fft in self.n_fft]).mean()


def distance(reconstruction: jax.Array, target: jax.Array, n_fft: int) -> jax.Array:
    """Spectral convergence + log-magnitude error of [B C T] at one resolution."""
    found, wanted = magnitude(reconstruction, n_fft), magnitude(target, n_fft)
    convergence = _norm(wanted - found) / _norm(wanted)
    return convergence + absolute(jnp.log(wanted) - jnp.log(found)).mean()


def magnitude(x: jax.Array, n_fft: int) -> jax.Array:
    """[B C T] -> [B*C frames n_fft/2+1]."""
    hop, half = n_fft // 4, n_fft // 2
    padded = jnp.pad(x.reshape(-1, x.shape[-1]), ((0, 0), (half, half)), mode="reflect")
    starts = np.arange(0, padded.shape[1] - n_fft + 1, hop)
    frames = padded[:, starts[:, None] + np.arange(n_fft)]
    window = jnp.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft), x.dtype)
    spectrum = jnp.fft.rfft(frames * window)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    return jnp.sqrt(jnp.maximum(power, FLOOR))


def _norm(x: jax.Array) -> jax.Array:
    """|x|, with gradient 0 where x is 0."""
    squares = jnp.square(x).sum()
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
