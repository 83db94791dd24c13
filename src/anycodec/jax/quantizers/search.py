"""Nearest code by squared Euclidean distance, in memory that grows with neither N nor K."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from anycodec.jax.layers.linear import EXACT

TILE = 2**22
"""Distances held at once (16 MiB of float32), unless there are more latents than that by `NARROWEST`."""
NARROWEST = 64
"""Least number of codes of a tile: fewer would not keep the processor busy."""


def nearest(z: jax.Array, codes: jax.Array) -> jax.Array:
    """Index of the nearest code of each row; ties go to the lowest index.

    argmin_k |z - c_k|^2 = argmin_k |c_k|^2 / 2 - z.c_k in float32, tile by tile of codes: latents that are
    spread over devices stay where they are.

    Args:
        z: [N D].
        codes: [K D].

    Returns:
        [N] int32.
    """
    z, codes = lax.stop_gradient((z, codes))
    columns = max(NARROWEST, TILE // max(1, len(z)))
    if len(codes) <= columns:
        return _least(_scores(z, codes))[1]
    tiles = -(-len(codes) // columns)
    filled = jnp.pad(codes, ((0, tiles * columns - len(codes)), (0, 0)))
    numbers = jnp.arange(tiles * columns).reshape(tiles, columns)

    def compare(
        best: tuple[jax.Array, jax.Array], tile: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        part, number = tile
        score, place = _least(jnp.where(number < len(codes), _scores(z, part), jnp.inf))
        closer = score < best[0]
        return (jnp.where(closer, score, best[0]), jnp.where(closer, number[0] + place, best[1])), None

    none = (jnp.full(len(z), jnp.inf), jnp.zeros(len(z), jnp.int32))
    (_, index), _ = lax.scan(compare, none, (filled.reshape(tiles, columns, -1), numbers))
    return index


def nearest_few(z: jax.Array, codes: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The `count` nearest codes of each row, the nearest first, and |c|^2 / 2 - z.c of each.

    Args:
        z: [N D] float32, few enough that [N K] can be held.
        codes: [K D] float32, K >= count.

    Returns:
        [N count] int32 and [N count].
    """
    negative, index = lax.top_k(-_scores(z, codes), count)
    return index, -negative


def _scores(z: jax.Array, codes: jax.Array) -> jax.Array:
    """|c|^2 / 2 - z.c, [N K]."""
    return jnp.square(codes).sum(axis=1) / 2 - jnp.matmul(z, codes.T, precision=EXACT)


def _least(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Minimum of each row of [n K] and its first place."""
    least = scores.min(axis=1)
    places = jnp.arange(scores.shape[1], dtype=jnp.int32)
    # two plain minima are vectorised, argmin is not (XLA on CPU)
    first = jnp.where(scores == least[:, None], places, scores.shape[1] - 1).min(axis=1)
    return least, first
