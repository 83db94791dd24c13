"""What discriminator and codec minimise, from the logits of real and reconstructed windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import jax
import jax.numpy as jnp

Name = Literal["hinge", "vanilla", "least_squares", "wgan"]


class Objective(ABC):
    """A pair of scalars; r and f are the logits of real and reconstructed windows, E their means."""

    @abstractmethod
    def discriminator(self, real: jax.Array, fake: jax.Array) -> jax.Array:
        """What the discriminator minimises."""

    @abstractmethod
    def generator(self, fake: jax.Array) -> jax.Array:
        """What the codec minimises."""


class Hinge(Objective):
    """(E max(0, 1 - r) + E max(0, 1 + f)) / 2 against -E f (Lim & Ye 2017; Esser 2021)."""

    def discriminator(self, real: jax.Array, fake: jax.Array) -> jax.Array:
        return (jax.nn.relu(1 - real).mean() + jax.nn.relu(1 + fake).mean()) / 2

    def generator(self, fake: jax.Array) -> jax.Array:
        return -fake.mean()


class Vanilla(Objective):
    """(E softplus(-r) + E softplus(f)) / 2 against E softplus(-f), non-saturating (Goodfellow 2014)."""

    def discriminator(self, real: jax.Array, fake: jax.Array) -> jax.Array:
        return (jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean()) / 2

    def generator(self, fake: jax.Array) -> jax.Array:
        return jax.nn.softplus(-fake).mean()


class LeastSquares(Objective):
    """(E (r - 1)^2 + E f^2) / 2 against E (f - 1)^2 / 2 (Mao 2017, eq. 9)."""

    def discriminator(self, real: jax.Array, fake: jax.Array) -> jax.Array:
        return (jnp.square(real - 1).mean() + jnp.square(fake).mean()) / 2

    def generator(self, fake: jax.Array) -> jax.Array:
        return jnp.square(fake - 1).mean() / 2


class Wasserstein(Objective):
    """E f - E r against -E f; needs a gradient penalty or spectral norm (Arjovsky 2017)."""

    def discriminator(self, real: jax.Array, fake: jax.Array) -> jax.Array:
        return fake.mean() - real.mean()

    def generator(self, fake: jax.Array) -> jax.Array:
        return -fake.mean()


OBJECTIVES: dict[Name, type[Objective]] = {
    "hinge": Hinge,
    "vanilla": Vanilla,
    "least_squares": LeastSquares,
    "wgan": Wasserstein,
}


def make_objective(name: Name) -> Objective:
    """The objective of this name."""
    return OBJECTIVES[name]()
