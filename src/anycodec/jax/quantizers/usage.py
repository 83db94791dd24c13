"""Figures about the codes of a batch, a level and over levels."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from anycodec.jax.quantizers.base import Scalars


def uses(index: jax.Array, size: int) -> jax.Array:
    """How often each of `size` codes stands in `index` [N], [K] float32."""
    return jnp.zeros(size).at[index].add(1.0)


def shannon_entropy(p: jax.Array) -> jax.Array:
    """-sum p ln p of probabilities [K] in nats; its gradient is finite where p is 0."""
    return -(p * jnp.log(jnp.maximum(p, np.finfo(np.float32).tiny))).sum()


def code_use(counts: jax.Array) -> dict[str, jax.Array]:
    """`perplexity`, exp of the entropy, and `codes_used`, a share, from the uses of each code [K]."""
    return {
        "perplexity": jnp.exp(shannon_entropy(counts / counts.sum())),
        "codes_used": (counts > 0).mean(),
    }


def level_stats(levels: Sequence[Scalars]) -> dict[str, jax.Array]:
    """One table from that of each level: `perplexity_0`, ..., and their mean as `perplexity`."""
    if len(levels) == 1:
        return dict(levels[0])
    together = {f"{name}_{i}": value for i, stats in enumerate(levels) for name, value in stats.items()}
    means = {name: jnp.stack([stats[name] for stats in levels]).mean() for name in levels[0]}
    return means | together
