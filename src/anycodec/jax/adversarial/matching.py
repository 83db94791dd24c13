"""Feature matching."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from anycodec.jax.losses.base import absolute


def feature_matching(real: Sequence[jax.Array], fake: Sequence[jax.Array]) -> jax.Array:
    """Mean over layers of mean |D_i(x) - D_i(x^)|, no gradient through D_i(x) (Larsen 2016; Wang 2018).

    Args:
        real: features of the windows, an array a layer.
        fake: those of their reconstructions.
    """
    pairs = zip(jax.lax.stop_gradient(tuple(real)), fake, strict=True)
    distances = [absolute(f.astype(jnp.float32) - r.astype(jnp.float32)).mean() for r, f in pairs]
    return jnp.stack(distances).mean()
