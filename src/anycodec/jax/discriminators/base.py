"""The contract of a discriminator: windows in, logits and features out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx


class Judgement(NamedTuple):
    """What a discriminator makes of windows.

    Attributes:
        logits: [B 1 n] float32, high where a patch looks real.
        features: activations [B D n] of the layers before, from the first to the last.
    """

    logits: jax.Array
    features: tuple[jax.Array, ...]


class Discriminator(nnx.Module, ABC):
    """Tells windows [B C T] from reconstructions. It is always in training: batches have their statistics."""

    @abstractmethod
    def __call__(self, x: jax.Array) -> Judgement:
        """The judgement of windows [B C T]."""


Layer = Callable[[jax.Array], jax.Array]


def judge(x: jax.Array, levels: Iterable[Layer], head: Layer) -> Judgement:
    """Windows [B C T] through one level after another, whose outputs are the features, to the logits."""
    h, features = x.swapaxes(1, 2), []
    for level in levels:
        h = level(h)
        features.append(h.swapaxes(1, 2))
    return Judgement(head(h).astype(jnp.float32).swapaxes(1, 2), tuple(features))
