"""Gradient penalty of WGAN-GP."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from anycodec.jax.discriminators.base import Judgement
from anycodec.jax.quantizers.gradient import length


def gradient_penalty(
    discriminator: Callable[[jax.Array], Judgement], real: jax.Array, fake: jax.Array, key: jax.Array
) -> jax.Array:
    """Mean over windows of (|slope| - 1)^2 at random points between real and fake (Gulrajani 2017, eq. 3).

    Args:
        discriminator: one whose judgement of a window doesn't depend on the others of its batch, computing
            in float32: products of small gradients vanish in half precision.
        real: windows [B C T].
        fake: their reconstructions.
        key: of the points.
    """
    share = jax.random.uniform(key, (len(real),))
    return slope_penalty(discriminator, between(real, fake, share))


def between(real: jax.Array, fake: jax.Array, share: jax.Array) -> jax.Array:
    """Share * real + (1 - share) * fake outside their graphs, share [B]."""
    share = share[:, None, None]
    return jax.lax.stop_gradient(share * real + (1 - share) * fake)


def slope_penalty(discriminator: Callable[[jax.Array], Judgement], points: jax.Array) -> jax.Array:
    """Mean over points [B C T] of (|d sum of logits / d point|_2 - 1)^2.

    Logits of patches are summed, as implementations for PatchGAN do.
    """
    slope = jax.grad(lambda x: discriminator(x).logits.sum())(points.astype(jnp.float32))
    return jnp.square(length(slope.reshape(len(points), -1)) - 1).mean()
