"""Log-cosh loss."""

from __future__ import annotations

import math

import jax

from anycodec.config.loss import LogCoshSpec
from anycodec.jax.losses.base import Loss, absolute


class LogCosh(Loss):
    """Mean log cosh(x^ - x) over all elements.

    log cosh e = |e| + log(1 + exp(-2 |e|)) - log 2, which doesn't overflow.
    """

    def __init__(self, spec: LogCoshSpec) -> None:
        pass

    def __call__(self, reconstruction: jax.Array, target: jax.Array) -> jax.Array:
        size = absolute(reconstruction - target)
        return (size + jax.nn.softplus(-2 * size)).mean() - math.log(2)
