"""How the gradient of a code reaches its latent; the values are the code's, exactly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

_SHORTEST = 1e-6


def straight_through(z: jax.Array, q: jax.Array) -> jax.Array:
    """`q` with the gradient of `z` (Bengio et al. 2013, arXiv 1308.3432)."""
    return stop_gradient(q) + (z - stop_gradient(z))


def rotation(z: jax.Array, q: jax.Array) -> jax.Array:
    """`q` as a fixed rotation and rescaling of `z` [N D] (Fifty et al. 2024, arXiv 2410.06424, eq. 4).

    R z = z - 2 (z.w) w + 2 (z.u) v, with u = z / |z|, v = q / |q|, w = (u + v) / |u + v| held constant:
    the gradient keeps its angle to the code where straight-through keeps its direction.
    """
    latent, code = stop_gradient(z), stop_gradient(q)
    u, v = unit(latent, _SHORTEST), unit(code, _SHORTEST)
    w = unit(u + v, _SHORTEST)
    turned = z - 2 * _dot(z, w) * w + 2 * _dot(z, u) * v
    return straight_through(turned * length(code) / jnp.maximum(length(latent), _SHORTEST), q)


def length(x: jax.Array) -> jax.Array:
    """|x| of each row [N 1], with gradient 0 where x is 0."""
    squares = jnp.square(x).sum(axis=-1, keepdims=True)
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)


def unit(x: jax.Array, shortest: float = 1e-12) -> jax.Array:
    """X / |x| of each row."""
    return x / jnp.maximum(length(x), shortest)


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return (a * b).sum(axis=1, keepdims=True)
