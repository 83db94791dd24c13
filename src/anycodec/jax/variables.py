"""Kinds of state that are no parameters. Everything but `Draws` is stored in `weights.safetensors`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


class Buffer(nnx.Variable[jax.Array]):
    """State that training changes, but not by gradient."""


class Counter(Buffer):
    """A count of steps: int32 here, int64 in files."""


class Draws(nnx.Variable[jax.Array]):
    """A source of random keys for training, kept in its state so that a resumed run draws what it would have.

    It is no part of the weights.
    """

    @classmethod
    def of(cls, rng: np.random.Generator) -> Draws:
        """A source of its own for each module."""
        return cls(jnp.array(rng.integers(2**32, size=2, dtype=np.uint32)))

    def next(self) -> jax.Array:
        """A key that is given once."""
        key: jax.Array
        following, key = jax.random.split(jax.random.wrap_key_data(self[...], impl="threefry2x32"))
        self[...] = jax.random.key_data(following)
        return key


def count(start: int = 0) -> Counter:
    """A counter that starts at `start`."""
    return Counter(jnp.asarray(start, jnp.int32))
