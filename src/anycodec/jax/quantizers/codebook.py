"""What quantizers with a table of codes share: from latents to the values of their codes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from anycodec.jax.quantizers.base import Quantized, TokenGrids
from anycodec.jax.quantizers.gradient import rotation, straight_through
from anycodec.jax.quantizers.regularizers import entropy
from anycodec.jax.quantizers.renewal import RenewedCodes
from anycodec.jax.quantizers.search import nearest
from anycodec.jax.quantizers.usage import code_use, uses


@dataclass(frozen=True, slots=True)
class Match:
    """Points and the codes that they were given.

    Attributes:
        z: points [N d], with gradient.
        codes: the effective table [K d].
        index: [N] int32.
        q: codes[index], [N d].
    """

    z: jax.Array
    codes: jax.Array
    index: jax.Array
    q: jax.Array


class CodebookQuantizer(RenewedCodes):
    """One table of codes [K d], and latents [N D] as points [N d] of its space.

    Latents take the values of their nearest codes; while the codes wait for their start, training
    passes latents through unquantised with terms of zero. Evaluation always quantises.
    """

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return self.spec.codebook_sizes

    @abstractmethod
    def table(self) -> jax.Array:
        """Codes [K d] before any normalisation, differentiable where they are learned."""

    @abstractmethod
    def losses(self, match: Match) -> dict[str, jax.Array]:
        """Weighted terms of a batch."""

    def learn(self, z: jax.Array, index: jax.Array, counts: jax.Array, passing: jax.Array | bool) -> None:
        """Update state from a training batch unless it is `passing`; the default learns by gradient only.

        Args:
            z: points [N d].
            index: their codes [N].
            counts: uses of each code [K].
            passing: whether latents still pass unquantised.
        """

    def codes(self) -> jax.Array:
        """The effective table [K d]."""
        return self.space.on_sphere(self.table())

    def __call__(self, z: jax.Array, *, train: bool, chosen: jax.Array | None = None) -> Quantized:
        """Quantise latents [B T D]; with codes `chosen` [N] for the points instead of the nearest."""
        points = self.space.enter(z.reshape(-1, z.shape[-1]))
        latents = jax.lax.stop_gradient(points)
        passing = self.renew(latents) if train else False
        codes = self.codes()
        index = nearest(latents, codes) if chosen is None else chosen
        match = Match(points, codes, index, codes[index])
        terms = self.losses(match) | self._entropy(match)
        carry = rotation if self.spec.gradient == "rotation" else straight_through
        values = jnp.where(passing, points, carry(points, match.q))
        terms = {name: jnp.where(passing, 0.0, term) for name, term in terms.items()}
        counts = uses(index, self.spec.codebook_size)
        if train:
            self.learn(latents, index, counts, passing)
            self.rest(counts, passing)
        stats = code_use(counts) | {"codes_dead": self.share_dead()}
        values = self.space.leave(values).reshape(z.shape)
        return Quantized(values, (index.reshape(z.shape[:-1]),), terms, stats)

    def lookup(self, tokens: TokenGrids) -> jax.Array:
        (index,) = tokens
        return self.space.leave(self.codes()[index.reshape(-1)]).reshape(*index.shape, -1)

    def _entropy(self, match: Match) -> dict[str, jax.Array]:
        weight = self.spec.entropy_weight
        if weight == 0:
            return {}
        return {"entropy": weight * entropy(match.z, match.codes, self.spec.entropy_temperature)}
