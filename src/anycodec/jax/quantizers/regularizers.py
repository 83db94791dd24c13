"""Terms that keep codes in use and apart, in memory that grows with neither N nor K."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from anycodec.jax.layers.linear import EXACT
from anycodec.jax.quantizers.gradient import unit
from anycodec.jax.quantizers.search import TILE
from anycodec.jax.quantizers.usage import shannon_entropy


def entropy(z: jax.Array, codes: jax.Array, temperature: float) -> jax.Array:
    """E_n H(p_n) - H(E_n p_n) with p_n = softmax_k(-|z_n - c_k|^2 / temperature), in nats.

    Small where each latent is sure of its code and all codes are used alike (Yu et al. 2023,
    arXiv 2310.05737, eq. 4).

    Args:
        z: [N D].
        codes: [K D].
        temperature: in units of squared distance.
    """
    rows = max(1, TILE // len(codes))
    tiles = -(-len(z) // rows)
    filled = jnp.pad(z, ((0, tiles * rows - len(z)), (0, 0))).reshape(tiles, -1, z.shape[1])
    real = (jnp.arange(tiles * rows) < len(z)).reshape(tiles, -1)

    @jax.checkpoint  # the table of a tile is computed again for the gradient instead of being kept
    def add(
        sums: tuple[jax.Array, jax.Array], tile: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        part, is_real = tile
        log_p = jax.nn.log_softmax(_closeness(part, codes) / temperature, axis=1)
        p = jnp.exp(log_p) * is_real[:, None]
        return (sums[0] - (p * log_p).sum(), sums[1] + p.sum(axis=0)), None

    (own, use), _ = jax.lax.scan(add, (jnp.zeros(()), jnp.zeros(len(codes))), (filled, real))
    return own / len(z) - shannon_entropy(use / len(z))


def _closeness(z: jax.Array, codes: jax.Array) -> jax.Array:
    """-|z - c|^2 + |z|^2, [N K]."""
    return 2 * jnp.matmul(z, codes.T, precision=EXACT) - jnp.square(codes).sum(axis=1)


def orthogonality(codes: jax.Array) -> jax.Array:
    """Mean squared cosine of two codes (Shin et al. 2021, arXiv 2112.00384), without those of themselves.

    |C C^T|_F^2 / K^2 - 1 / K with rows of C of length one; |C C^T|_F = |C^T C|_F, which is [D D].
    """
    rows = unit(codes)
    squares = jnp.square(jnp.matmul(rows.T, rows, precision=EXACT)).sum()
    return squares / len(codes) ** 2 - 1 / len(codes)
