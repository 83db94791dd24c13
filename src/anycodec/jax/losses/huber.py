"""Huber's loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from anycodec.config.loss import HuberSpec
from anycodec.jax.losses.base import Loss, absolute


class Huber(Loss):
    """Mean of e^2 / 2 where |e| <= delta, delta (|e| - delta / 2) elsewhere; e = x^ - x (Huber 1964)."""

    def __init__(self, spec: HuberSpec) -> None:
        self.delta = spec.delta

    def __call__(self, reconstruction: jax.Array, target: jax.Array) -> jax.Array:
        size = absolute(reconstruction - target)
        inside = jnp.minimum(size, self.delta)
        return (inside * (size - inside / 2)).mean()
