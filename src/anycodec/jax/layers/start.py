"""Where parameters start: as torch's layers do."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

Parameter = nnx.Param[jax.Array]


def uniform(rngs: nnx.Rngs, shape: Sequence[int], fan_in: int) -> Parameter:
    """U(-a, a) with a = 1 / sqrt(fan in)."""
    bound = fan_in**-0.5
    return nnx.Param(jax.random.uniform(rngs.params(), tuple(shape), jnp.float32, -bound, bound))


def normal(rngs: nnx.Rngs, shape: Sequence[int], deviation: float) -> Parameter:
    """N(0, deviation^2)."""
    return nnx.Param(deviation * jax.random.normal(rngs.params(), tuple(shape)))


def orthogonal(rngs: nnx.Rngs, rows: int, columns: int) -> Parameter:
    """Orthonormal rows or columns, whichever are fewer."""
    start = jax.nn.initializers.orthogonal()
    return nnx.Param(start(rngs.params(), (rows, columns), jnp.float32))


def constant(value: float, size: int) -> Parameter:
    """The same value everywhere, [size]."""
    return nnx.Param(jnp.full(size, value, jnp.float32))
