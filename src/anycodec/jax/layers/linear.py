"""Linear layers in float32, weights [O I] as torch has them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from anycodec.jax.layers.start import Parameter, constant

EXACT = jax.lax.Precision.HIGHEST
"""Products in float32 also where the device would round their factors (TF32, bfloat16 passes)."""


class Linear(nnx.Module):
    """y = W x + b over the last axis, whatever precision the networks around compute in.

    Args:
        weight: W [O I].
        bias: add a bias, which starts at zero.
    """

    def __init__(self, weight: Parameter, *, bias: bool = True) -> None:
        self.weight = weight
        self.bias = constant(0.0, weight.shape[0]) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        y = jnp.matmul(x.astype(jnp.float32), self.weight[...].T, precision=EXACT)
        return y if self.bias is None else y + self.bias[...]
