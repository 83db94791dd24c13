"""One compiled step: gradients of codec and discriminator over all devices, and both updates."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from anycodec.config.train import TrainSpec
from anycodec.jax.runtime import replicated
from anycodec.jax.training.contest import Contest, Found, Phase, Scalars, Strength, Terms, alone
from anycodec.jax.training.networks import Plan, Scalar, TrainState, Tree
from anycodec.jax.training.update import averaged, update


class Now(NamedTuple):
    """What depends on the number of the step, and is no reason to compile again.

    Attributes:
        lr: the codec's learning rate.
        rival_lr: the discriminator's.
        strength: of the adversarial terms.
        number: of the step, 0 = the first.
    """

    lr: Scalar
    rival_lr: Scalar
    strength: Strength
    number: Scalar


class Done(NamedTuple):
    """What a step gives.

    Attributes:
        state: after it.
        shown: figures for the log.
        watched: what must be finite.
    """

    state: TrainState
    shown: Scalars
    watched: Scalars


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a step is made of.

    Attributes:
        spec: the training loop.
        seed: of noise and interpolates.
        codec: structure of the codec.
        terms: reconstruction terms.
        factors: of the learning rate, a number for each of the codec's parameters.
        contest: the discriminator's side, None without.
    """

    spec: TrainSpec
    seed: int
    codec: Plan
    terms: Terms
    factors: tuple[float, ...]
    contest: Contest | None = None


Carry = tuple[TrainState, tuple[Tree, Tree | None]]
"""The state, and sums of gradients of codec and discriminator."""


class Step:
    """The compiled step of each phase of a training.

    Args:
        recipe: what it does.
        mesh: the devices that share a batch. The state is the same on all of them.
    """

    def __init__(self, recipe: Recipe, mesh: Mesh) -> None:
        self._recipe = recipe
        self._compiled: dict[Phase, Any] = {}
        self._jitted = jax.jit(
            self._step, static_argnames="phase", donate_argnums=0, out_shardings=replicated(mesh)
        )

    def ready(self, phase: Phase) -> bool:
        """Whether a phase is compiled."""
        return phase in self._compiled

    def compile(self, state: TrainState, batch: jax.Array, now: Now, phase: Phase) -> float:
        """Make a phase ready; the seconds it took."""
        begin = time.perf_counter()
        self._compiled[phase] = self._jitted.lower(state, batch, now, phase=phase).compile()
        return time.perf_counter() - begin

    def __call__(self, state: TrainState, batch: jax.Array, now: Now, phase: Phase) -> Done:
        """One update from batches [A B C *s]; `state` is used up."""
        done: Done = self._compiled[phase](state, batch, now)
        return done

    def _step(self, state: TrainState, batch: jax.Array, now: Now, *, phase: Phase) -> Done:
        found = self._gathered(state, batch, now, phase)
        spec, shown, watched = self._recipe.spec, dict(found.shown), dict(found.watched)
        codec, norm = update(
            found.state.codec,
            found.codec,
            now.lr,
            spec=spec.optimizer,
            clip=spec.clip,
            factors=self._recipe.factors,
        )
        watched["gradient of the codec"] = norm
        after = replace(found.state, codec=codec)
        if after.average is not None and spec.ema is not None:
            after = replace(after, average=averaged(after.average, codec.params, spec.ema))
        if found.rival is not None and after.rival is not None and self._recipe.contest is not None:
            rival = self._recipe.contest.spec
            learned, norm = update(
                after.rival,
                found.rival,
                now.rival_lr,
                spec=rival.optimizer,
                clip=rival.clip,
                factors=(1.0,) * len(jax.tree.leaves(found.rival)),
            )
            watched["gradient of the discriminator"] = norm
            after = replace(after, rival=learned)
        return Done(after, shown, watched)

    def _gathered(self, state: TrainState, batch: jax.Array, now: Now, phase: Phase) -> Found:
        """Mean gradients over the batches of a step; figures are the last one's, watched terms sums."""
        key = jax.random.fold_in(jax.random.key(self._recipe.seed), now.number)
        if len(batch) == 1:
            return self._gradients(state, batch[0], now, key, phase)

        def add(carry: Carry, entry: tuple[jax.Array, jax.Array]) -> tuple[Carry, tuple[Scalars, Scalars]]:
            state, sums = carry
            x, number = entry
            found = self._gradients(state, x, now, jax.random.fold_in(key, number), phase)
            sums = jax.tree.map(jnp.add, sums, (found.codec, found.rival))
            return (found.state, sums), (found.shown, found.watched)

        learns = state.rival.params if state.rival is not None and phase.trains else None
        start = (state, jax.tree.map(jnp.zeros_like, (state.codec.params, learns)))
        (state, sums), (shown, watched) = jax.lax.scan(add, start, (batch, jnp.arange(len(batch))))
        codec, rival = jax.tree.map(lambda g: g / len(batch), sums)
        shown = {name: values[-1] for name, values in shown.items()}
        return Found(state, codec, rival, shown, {name: values.sum() for name, values in watched.items()})

    def _gradients(self, state: TrainState, x: jax.Array, now: Now, key: jax.Array, phase: Phase) -> Found:
        contest = self._recipe.contest
        if contest is not None and (phase.counts or phase.trains):
            return contest.gradients(state, x, now.strength, key, phase)
        return alone(self._recipe.codec, self._recipe.terms, state, x)[0]
