"""Error of the gradient along time."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from anycodec.config.loss import GradientSpec
from anycodec.jax.losses.base import Loss, absolute


class Gradient(Loss):
    """Mean |D x^ - D x|, D the difference of neighbours along time.

    As the gradient difference loss (Mathieu 2016) with signs: an edge of the wrong direction counts.
    """

    def __init__(self, spec: GradientSpec) -> None:
        pass

    def __call__(self, reconstruction: jax.Array, target: jax.Array) -> jax.Array:
        return absolute(jnp.diff(reconstruction - target, axis=-1)).mean()
