"""How codes start, by k-means of latents, and start again when they are dead."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from numpy.random import Generator

from anycodec.config.quantizer import CodebookSpec
from anycodec.jax.quantizers.base import Quantizer
from anycodec.jax.quantizers.kmeans import kmeans, place_among
from anycodec.jax.quantizers.space import CodeSpace
from anycodec.jax.variables import Buffer, Draws, count

STARTING_LATENTS = 64
"""Latents a code that the k-means start wants."""
DEAD_AFTER = 100
"""Training steps without use after which `codes_dead` counts a code."""


class Placement(NamedTuple):
    """Codes that move, as if they had been used `counts` times a step.

    Attributes:
        which: [K] bool.
        values: [K d], where to.
        counts: [K].
    """

    which: jax.Array
    values: jax.Array
    counts: jax.Array


class RenewedCodes(Quantizer):
    """A quantizer whose codes are placed where latents are.

    With `kmeans_after` 0 they start before training, from k-means of many batches of latents (`start`).
    Else the first `kmeans_after` steps wait: the autoencoder finds a usable latent first, and the codes
    start from k-means of one batch of it. Codes that training has not used for `restart_after` steps
    move to latents. All of it happens inside the compiled step.
    """

    def __init__(self, spec: CodebookSpec, dim: int, rng: Generator) -> None:
        self.spec = spec
        self.space = CodeSpace(spec, dim, rng)
        self.steps = count()
        self.idle = Buffer(jnp.zeros(spec.codebook_size, jnp.int32))
        self.draws = Draws.of(rng)

    moved: ClassVar[tuple[str, ...]]
    """Attributes that change when codes move."""

    @abstractmethod
    def placed(self, at: Placement) -> dict[str, jax.Array]:
        """The values of `moved` after a placement."""

    @property
    def latents_wanted(self) -> int:
        early = self.spec.kmeans_init and self.spec.kmeans_after == 0 and int(self.steps[...]) == 0
        return STARTING_LATENTS * self.spec.codebook_size if early else 0

    def start(self, latents: jax.Array) -> None:
        points = self.space.enter(latents)
        self._move(self.placed(self._kmeans(points, self.draws.next())))
        self.steps[...] += 1

    def renew(self, latents: jax.Array) -> jax.Array | bool:
        """Before a training step on points [N d]: start the codes, restart dead ones.

        Returns:
            Whether latents still pass unquantised.
        """
        passing = self._wait_or_start(latents)
        self._restart(latents)
        return passing

    def rest(self, counts: jax.Array, passing: jax.Array | bool) -> None:
        """After a training step: note which codes it used, by their uses [K]."""
        idle = self.idle[...]
        self.idle[...] = jnp.where(passing, idle, jnp.where(counts > 0, 0, idle + 1))

    def share_dead(self) -> jax.Array:
        """Share of codes that training has not used for a while, []."""
        return (self.idle[...] >= DEAD_AFTER).mean()

    def _wait_or_start(self, latents: jax.Array) -> jax.Array | bool:
        """Count a training step; start the codes when their time has come."""
        step = self.steps[...]
        self.steps[...] = step + 1
        if not self.spec.kmeans_init:
            return False
        key = self.draws.next()
        self._place_if(step == self.spec.kmeans_after, lambda: self._kmeans(latents, key))
        return step < self.spec.kmeans_after

    def _restart(self, latents: jax.Array) -> None:
        """Codes without use for too long move to random latents of the batch, each to another one."""
        if self.spec.restart_after == 0:
            return
        dead = self.idle[...] >= self.spec.restart_after
        place = place_among(dead)
        dead &= place < len(latents)
        key = self.draws.next()
        average = jnp.full(len(dead), len(latents) / len(dead))

        def at_latents() -> Placement:
            order = jax.random.permutation(key, len(latents))
            return Placement(dead, latents[order[jnp.minimum(place, len(latents) - 1)]], average)

        self._place_if(dead.any(), at_latents)
        self.idle[...] = jnp.where(dead, 0, self.idle[...])

    def _kmeans(self, latents: jax.Array, key: jax.Array) -> Placement:
        """All codes, from k-means of the latents of a step."""
        size = self.spec.codebook_size
        cosine = self.space.cosine
        codes, share = kmeans(latents, size, self.spec.kmeans_iterations, cosine=cosine, key=key)
        return Placement(jnp.ones(size, bool), codes, share * len(latents))

    def _place_if(self, due: jax.Array, at: Callable[[], Placement]) -> None:
        """Place codes where it is time, for the cost of a comparison where it is not."""
        before = {name: getattr(self, name)[...] for name in self.moved}
        self._move(lax.cond(due, lambda: self.placed(at()), lambda: before))

    def _move(self, after: Mapping[str, jax.Array]) -> None:
        """Replace values; of parameters, the gradient stays that of the value in use."""
        for name, value in after.items():
            variable = getattr(self, name)
            before = variable[...]
            variable[...] = before + lax.stop_gradient(value - before)
