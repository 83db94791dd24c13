"""Adaptive weight of the adversarial term."""

from __future__ import annotations

import jax
import jax.numpy as jnp

LARGEST = 1e4
DELTA = 1e-4


def adaptive_weight(reconstruction: jax.Array, generator: jax.Array) -> jax.Array:
    """min(|g_rec| / (|g_gen| + 1e-4), 1e4): makes both terms pull equally (Esser 2021, eq. 7).

    Args:
        reconstruction: gradient of the reconstruction terms at the weight of the decoder's last layer.
        generator: gradient of the generator's term there.

    Returns:
        Scalar without gradient, in float32.
    """
    ratio = _norm(reconstruction) / (_norm(generator) + DELTA)
    return jax.lax.stop_gradient(jnp.minimum(ratio, LARGEST))


def _norm(gradient: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.square(gradient.astype(jnp.float32)).sum())
