"""A loss term: a named number to make small. The trainer sums what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod

import jax
import jax.numpy as jnp


class Loss(ABC):
    """One reconstruction term, unweighted."""

    @abstractmethod
    def __call__(self, reconstruction: jax.Array, target: jax.Array) -> jax.Array:
        """Scalar from two normalised windows [B C T]."""


def absolute(x: jax.Array) -> jax.Array:
    """|x|, with the slope 0 at 0 as in torch; JAX's is 1."""
    return x * jax.lax.stop_gradient(jnp.sign(x))
