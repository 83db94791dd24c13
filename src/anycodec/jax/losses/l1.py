"""Mean absolute error."""

from __future__ import annotations

import jax

from anycodec.config.loss import L1Spec
from anycodec.jax.losses.base import Loss, absolute


class L1(Loss):
    """mean |x^ - x| over all elements."""

    def __init__(self, spec: L1Spec) -> None:
        pass

    def __call__(self, reconstruction: jax.Array, target: jax.Array) -> jax.Array:
        return absolute(reconstruction - target).mean()
