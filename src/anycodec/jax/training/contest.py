"""The gradients of a step, with and without a discriminator: twin of the torch engine's.

One reconstruction x^ is made and judged once. What stands behind x^ is differentiated apart; the codec is
then walked back once, from the sum:

    L_rec -> dL_rec/dx^ --+
                          +--> x^ --> codec                D(x), D(x^) --> L_D --> discriminator
    L_adv -> dL_adv/dx^ --+    (through D, whose own gradients are left out)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from anycodec.config.adversarial import AdversarialSpec
from anycodec.jax.adversarial.matching import feature_matching
from anycodec.jax.adversarial.objectives import Objective
from anycodec.jax.adversarial.penalty import gradient_penalty
from anycodec.jax.adversarial.weight import adaptive_weight
from anycodec.jax.codecs import CodecOutput
from anycodec.jax.discriminators import Judgement
from anycodec.jax.training.networks import Plan, Scalar, TrainState, Tree

Scalars = dict[str, jax.Array]
Terms = Callable[[jax.Array, jax.Array], Scalars]
"""Weighted reconstruction terms of x^ and x [B C *s]."""


_TINY = float(np.finfo(np.float32).tiny)


class Found(NamedTuple):
    """What a batch gives.

    Attributes:
        state: with what the forward passes changed; parameters move only where codes restart.
        codec: gradient of the codec's parameters.
        rival: of the discriminator's, None where it does not learn.
        shown: figures for the log.
        watched: what must be finite, beside `shown`.
    """

    state: TrainState
    codec: Tree
    rival: Tree | None
    shown: Scalars
    watched: Scalars


@dataclass(frozen=True, slots=True)
class Phase:
    """What happens in a step: each combination is compiled once.

    Attributes:
        counts: the codec hears the discriminator.
        trains: the discriminator is updated.
    """

    counts: bool = False
    trains: bool = False


class Strength(NamedTuple):
    """How strong the adversarial terms and the instance noise of a step are."""

    ramp: Scalar
    noise: Scalar


class Verdict(NamedTuple):
    """A judgement, and how gradients go back through it: to parameters, and to what was judged."""

    judgement: Judgement
    back: Callable[[Judgement], tuple[Tree, jax.Array]]


def alone(plan: Plan, terms: Terms, state: TrainState, x: jax.Array) -> tuple[Found, jax.Array]:
    """A codec that does not hear the discriminator; also its reconstruction."""

    def loss(params: Tree) -> tuple[jax.Array, tuple[CodecOutput, Scalars, tuple[Tree, Tree]]]:
        output, after = _run(plan, params, state.codec.rest, x)
        named = terms(output.reconstruction, x) | dict(output.losses)
        return total(named), (output, named, after)

    gradient, (output, named, after) = jax.grad(loss, has_aux=True)(state.codec.params)
    shown = {"loss": total(named)} | named | dict(output.stats)
    return Found(_with_codec(state, after), gradient, None, shown, named), output.reconstruction


class Contest:
    """A codec and a discriminator.

    Args:
        codec: structure of the codec.
        rival: structure of the discriminator.
        exact: the same computing in float32, for the gradient penalty.
        terms: reconstruction terms.
        spec: weights.
        objective: what both minimise.
        last_layer: name of the weight where gradients are compared.
    """

    def __init__(
        self,
        *,
        codec: Plan,
        rival: Plan,
        exact: Plan,
        terms: Terms,
        spec: AdversarialSpec,
        objective: Objective,
        last_layer: str,
    ) -> None:
        self.codec, self.rival, self.exact = codec, rival, exact
        self.terms, self.spec, self.objective, self.last_layer = terms, spec, objective, last_layer

    def gradients(
        self, state: TrainState, x: jax.Array, now: Strength, key: jax.Array, phase: Phase
    ) -> Found:
        """The gradients of a batch [B C *s]; `key` is for noise and interpolates."""
        keys = jax.random.split(key, 3)
        real: Verdict | None = None
        if phase.counts and self.spec.feature_matching:
            state, real = self._judge(state, self._noisy(x, now, keys[0]))
        if phase.counts:
            found, y, fake = self._pleasing(state, x, real, now, keys[1])
        else:
            found, y = alone(self.codec, self.terms, state, x)
            fake = None
        if not phase.trains:
            return found
        y, state = jax.lax.stop_gradient(y), found.state
        if fake is None:
            state, fake = self._judge(state, self._noisy(y, now, keys[1]))
        if real is None:
            state, real = self._judge(state, self._noisy(x, now, keys[0]))
        return self._learning(found._replace(state=state), real, fake, (x, y), keys[2])

    def _pleasing(
        self, state: TrainState, x: jax.Array, real: Verdict | None, now: Strength, key: jax.Array
    ) -> tuple[Found, jax.Array, Verdict]:
        """A codec that must please the discriminator too."""

        def forward(
            params: Tree,
        ) -> tuple[tuple[jax.Array, jax.Array], tuple[CodecOutput, tuple[Tree, Tree]]]:
            output, after = _run(self.codec, params, state.codec.rest, x)
            return (output.reconstruction, total(output.losses)), (output, after)

        (y, own), back, (output, after) = jax.vjp(forward, state.codec.params, has_aux=True)
        compared, pull = _terms_at(self.terms, y, x)
        state, fake = self._judge(_with_codec(state, after), self._noisy(y, now, key))

        def at_last(gradient: jax.Array) -> jax.Array:
            """A gradient at x^, walked to the last layer: XLA leaves out what lies behind it."""
            return self.codec.leaf(back((gradient, jnp.zeros_like(own)))[0], self.last_layer)

        unweighted, gradients = self._wishes(fake, real)
        adaptive = jnp.ones(())
        if self.spec.adaptive != "none":
            adaptive = adaptive_weight(at_last(pull), at_last(gradients["generator"]))
        factors = {
            "generator": self.spec.weight * now.ramp * adaptive,
            "feature_matching": self.spec.feature_matching * now.ramp,
        }
        push = sum((factors[name] * gradient for name, gradient in gradients.items()), jnp.zeros_like(y))
        (gradient,) = back((pull + push, jnp.ones_like(own)))
        weighted = {name: factors[name] * term for name, term in unweighted.items()}
        named = compared | weighted | dict(output.losses)
        shown = {"loss": total(named)} | named | dict(output.stats)
        shown["adaptive_weight"] = adaptive
        shown["gradient_ratio"] = jnp.linalg.norm(push) / (jnp.linalg.norm(pull) + _TINY)
        watched = named | unweighted | {"adaptive_weight": adaptive}
        return Found(state, gradient, None, shown, watched), y, fake

    def _wishes(self, fake: Verdict, real: Verdict | None) -> tuple[Scalars, Scalars]:
        """What the codec minimises, before weights, and its gradients at x^."""
        nothing = jax.tree.map(jnp.zeros_like, fake.judgement)
        term, slope = jax.value_and_grad(self.objective.generator)(fake.judgement.logits)
        terms = {"generator": term}
        gradients = {"generator": fake.back(nothing._replace(logits=slope))[1]}
        if real is not None:
            seen = real.judgement.features
            term, slopes = jax.value_and_grad(lambda features: feature_matching(seen, features))(
                fake.judgement.features
            )
            terms["feature_matching"] = term
            gradients["feature_matching"] = fake.back(nothing._replace(features=slopes))[1]
        return terms, gradients

    def _learning(
        self,
        found: Found,
        real: Verdict,
        fake: Verdict,
        windows: tuple[jax.Array, jax.Array],
        key: jax.Array,
    ) -> Found:
        """`found` with the discriminator's gradients."""

        logits = (real.judgement.logits, fake.judgement.logits)
        term, slopes = jax.value_and_grad(self.objective.discriminator, argnums=(0, 1))(*logits)
        terms = {"discriminator": term}
        means = [values.mean() for values in logits]
        parts = []
        for verdict, slope in zip((real, fake), slopes, strict=True):
            nothing = jax.tree.map(jnp.zeros_like, verdict.judgement)
            parts.append(verdict.back(nothing._replace(logits=slope))[0])
        if self.spec.gradient_penalty:
            terms["gradient_penalty"], part = self._penalty(found.state, windows, key)
            parts.append(part)
        terms |= {f"logits_{name}": mean for name, mean in zip(("real", "fake"), means, strict=True)}
        summed = jax.tree.map(lambda *gradients: sum(gradients), *parts)
        return found._replace(rival=summed, shown=found.shown | terms, watched=found.watched | terms)

    def _penalty(
        self, state: TrainState, windows: tuple[jax.Array, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, Tree]:
        """The weighted gradient penalty and its gradient."""
        assert state.rival is not None
        rest = state.rival.rest

        def penalty(params: Tree) -> jax.Array:
            rival = self.exact.together(params, rest)
            return self.spec.gradient_penalty * gradient_penalty(rival, *windows, key)

        value, gradient = jax.value_and_grad(penalty)(state.rival.params)
        return value, gradient

    def _judge(self, state: TrainState, x: jax.Array) -> tuple[TrainState, Verdict]:
        """The judgement of windows [B C *s], and the state that it leaves."""
        assert state.rival is not None
        rest = state.rival.rest

        def judge(params: Tree, values: jax.Array) -> tuple[Judgement, Tree]:
            rival = self.rival.together(params, rest)
            judgement: Judgement = rival(values)
            return judgement, self.rival.apart(rival)[1]

        judgement, back, after = jax.vjp(judge, state.rival.params, x, has_aux=True)
        return replace(state, rival=replace(state.rival, rest=after)), Verdict(judgement, back)

    def _noisy(self, x: jax.Array, now: Strength, key: jax.Array) -> jax.Array:
        return x if self.spec.noise is None else x + now.noise * jax.random.normal(key, x.shape)


def total(terms: Mapping[str, jax.Array]) -> jax.Array:
    """The sum of scalars."""
    return jnp.stack(list(terms.values())).sum() if terms else jnp.zeros(())


def _run(plan: Plan, params: Tree, rest: Tree, x: jax.Array) -> tuple[CodecOutput, tuple[Tree, Tree]]:
    """A training pass, and the arrays that it leaves."""
    codec = plan.together(params, rest)
    output: CodecOutput = codec(x, train=True)
    return output, plan.apart(codec)


def _with_codec(state: TrainState, after: tuple[Tree, Tree]) -> TrainState:
    params, rest = after
    return replace(state, codec=replace(state.codec, params=params, rest=rest))


def _terms_at(terms: Terms, y: jax.Array, x: jax.Array) -> tuple[Scalars, jax.Array]:
    """Terms, and the gradient of their sum at x^."""

    def summed(values: jax.Array) -> tuple[jax.Array, Scalars]:
        named = terms(values, x)
        return total(named), named

    gradient, named = jax.grad(summed, has_aux=True)(y)
    return named, gradient
