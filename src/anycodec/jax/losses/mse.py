"""Mean squared error."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from anycodec.config.loss import MseSpec
from anycodec.jax.losses.base import Loss


class Mse(Loss):
    """mean (x^ - x)^2 over all elements."""

    def __init__(self, spec: MseSpec) -> None:
        pass

    def __call__(self, reconstruction: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.square(reconstruction - target).mean()
