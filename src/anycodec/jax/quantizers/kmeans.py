"""k-means of latents, to start a codebook where the data is."""

from __future__ import annotations

import warnings
from functools import partial

import jax
import jax.numpy as jnp

from anycodec.errors import Notice
from anycodec.jax.quantizers.gradient import unit
from anycodec.jax.quantizers.search import nearest
from anycodec.jax.quantizers.usage import uses

_SAMPLES_A_CODE = 256
"""More samples move the codes no further (the figure faiss uses)."""


def kmeans(
    samples: jax.Array, k: int, iterations: int, *, cosine: bool, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Lloyd's algorithm from randomly drawn samples; empty clusters restart at random samples.

    With fewer samples than codes, which is said in a warning, the spare codes are samples with a
    little noise: the restart of dead codes moves them later.

    Args:
        samples: [N D].
        k: number of codes.
        iterations: Lloyd iterations.
        cosine: put means back onto the sphere.
        key: of what is drawn.

    Returns:
        codes [k D] and the share of samples of each, [k].
    """
    if len(samples) < k:
        warnings.warn(
            f"{k} codes start from {len(samples)} latents: take a larger batch or a smaller codebook_size",
            Notice,
            stacklevel=2,
        )
    found: tuple[jax.Array, jax.Array] = _lloyd(samples, k, iterations, cosine=cosine, key=key)
    return found


@partial(jax.jit, static_argnames=("k", "iterations", "cosine"))
def _lloyd(
    samples: jax.Array, k: int, iterations: int, *, cosine: bool, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    of_samples, of_codes, of_empty = jax.random.split(key, 3)
    samples = _draw(of_samples, samples, min(len(samples), _SAMPLES_A_CODE * k))

    def improve(i: int, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        index = nearest(samples, state[0])
        counts = uses(index, k)
        means = jnp.zeros_like(state[0]).at[index].add(samples) / jnp.maximum(counts, 1)[:, None]
        empty = counts == 0
        spare = _draw(jax.random.fold_in(of_empty, i), samples, k)
        codes = jnp.where(empty[:, None], spare[place_among(empty)], means)
        return unit(codes) if cosine else codes, counts

    start = (_draw(of_codes, samples, k), jnp.ones(k))
    codes, counts = jax.lax.fori_loop(0, iterations, improve, start)
    counts = jnp.maximum(counts, 1)  # an empty cluster holds the sample it restarted at
    return codes, counts / counts.sum()


def place_among(chosen: jax.Array) -> jax.Array:
    """How many of `chosen` [K] bool stand before each, [K]; 0 before the first."""
    return jnp.maximum(jnp.cumsum(chosen) - 1, 0)


def _draw(key: jax.Array, samples: jax.Array, k: int) -> jax.Array:
    """k samples without replacement as far as they go, then again with noise of 1 % of their spread."""
    of_order, of_noise = jax.random.split(key)
    order = jax.random.permutation(of_order, len(samples))
    if len(samples) >= k:
        return samples[order[:k]]
    chosen = samples[jnp.tile(order, -(-k // len(samples)))[:k]]
    noise = 0.01 * samples.std() * jax.random.normal(of_noise, chosen.shape)
    return chosen + noise.at[: len(samples)].set(0.0)
