"""Codes of several stages that are chosen together."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from anycodec.jax.quantizers.search import TILE, nearest_few


def beam_search(z: jax.Array, tables: Sequence[jax.Array], width: int) -> jax.Array:
    """One code of each table, so that their sum comes near z.

    The nearest code of each stage in turn need not end in the best sum. A beam search (Babenko &
    Lempitsky 2014, Additive Quantization, section 3.1) follows the `width` best sums from stage to
    stage; width 1 is the nearest code in turn.

    Args:
        z: [N D].
        tables: codes [K D] of each stage.
        width: sums that are followed.

    Returns:
        [N S] int32.
    """
    held = width * max(z.shape[1], *(len(table) for table in tables))
    rows = min(len(z), max(1, TILE // held))
    tiles = -(-len(z) // rows)
    filled = jnp.pad(z, ((0, tiles * rows - len(z)), (0, 0))).reshape(tiles, rows, -1)
    paths: jax.Array = jax.lax.map(lambda part: _search(part, tables, width), filled)
    return paths.reshape(tiles * rows, -1)[: len(z)]


def _search(z: jax.Array, tables: Sequence[jax.Array], width: int) -> jax.Array:
    """Codes of all stages [N S]."""
    left = z[:, None]  # [N B D], what each of B sums leaves
    paths = jnp.zeros((len(z), 1, 0), jnp.int32)  # [N B stages so far]
    for stage, table in enumerate(tables):
        beams = left.shape[1]
        count = min(width, len(table))
        codes, scores = nearest_few(left.reshape(-1, left.shape[2]), table, count)
        # |left - c|^2 = |left|^2 + 2 (|c|^2 / 2 - left.c)
        lengths = jnp.square(left).sum(axis=-1, keepdims=True)
        errors = (lengths + 2 * scores.reshape(len(z), beams, count)).reshape(len(z), -1)
        kept = min(1 if stage == len(tables) - 1 else width, errors.shape[1])
        _, best = jax.lax.top_k(-errors, kept)
        code = jnp.take_along_axis(codes.reshape(len(z), -1), best, axis=1)
        left = jnp.take_along_axis(left, best[..., None] // count, axis=1) - table[code]
        paths = jnp.take_along_axis(paths, best[..., None] // count, axis=1)
        paths = jnp.concatenate([paths, code[..., None]], axis=-1)
    return paths[:, 0]
