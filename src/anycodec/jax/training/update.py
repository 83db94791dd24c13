"""What a network makes of its gradients: clipping, AdamW, averaging."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from anycodec.config.train import OptimizerSpec
from anycodec.jax.training.networks import Average, Network, Scalar, Tree, adam

_CLIP_DELTA = 1e-6
"""What torch adds to the norm that it divides by."""


def update(
    network: Network,
    gradients: Tree,
    lr: Scalar,
    *,
    spec: OptimizerSpec,
    clip: float | None,
    factors: Sequence[float],
) -> tuple[Network, jax.Array]:
    """theta <- theta - lr f (adam(g) + w theta), f of each parameter (Loshchilov 2019).

    Args:
        network: before.
        gradients: of its parameters.
        lr: learning rate, [].
        spec: betas and w.
        clip: largest global gradient norm; None = off.
        factors: f of each leaf.

    Returns:
        The network after, and the norm of its gradients before they were clipped.
    """
    norm = jnp.sqrt(sum((jnp.square(leaf).sum() for leaf in jax.tree.leaves(gradients)), jnp.zeros(())))
    if clip is not None:
        share = jnp.minimum(1.0, clip / (norm + _CLIP_DELTA))
        gradients = jax.tree.map(lambda g: share * g, gradients)
    direction, moments = adam(spec).update(gradients, network.adam)
    leaves, structure = jax.tree.flatten(network.params)
    steps = zip(leaves, jax.tree.leaves(direction), factors, strict=True)
    after = [theta - lr * f * (d + spec.weight_decay * theta) for theta, d, f in steps]
    return Network(jax.tree.unflatten(structure, after), network.rest, moments), norm


def averaged(average: Average, params: Tree, decay: float) -> Average:
    """theta_avg <- d theta_avg + (1 - d) theta, with d = min(decay, (1 + t) / (10 + t))."""
    t = average.updates.astype(jnp.float32)
    d = jnp.minimum(decay, (1 + t) / (10 + t))
    moved = jax.tree.map(lambda a, theta: a + (1 - d) * (theta - a), average.params, params)
    return Average(moved, average.updates + 1)
