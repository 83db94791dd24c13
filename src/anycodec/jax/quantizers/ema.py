"""VQ with codes as moving averages of their latents (van den Oord et al. 2017, appendix A.1)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from numpy.random import Generator

from anycodec.config.quantizer import EmaSpec
from anycodec.jax.quantizers.codebook import CodebookQuantizer, Match
from anycodec.jax.quantizers.renewal import Placement
from anycodec.jax.variables import Buffer


class Ema(CodebookQuantizer):
    """N_k <- d N_k + (1-d) n_k, m_k <- d m_k + (1-d) sum z, c_k = m_k / N'_k,

    with Laplace smoothing N'_k = (N_k + eps) / (sum N + K eps) sum N. A batch is quantised with the
    codes from before its update. loss = beta |z - sg(q)|^2.
    """

    spec: EmaSpec
    moved = ("codebook", "counts", "sums")

    def __init__(self, spec: EmaSpec, dim: int, rng: Generator) -> None:
        super().__init__(spec, dim, rng)
        codes = jnp.array(rng.normal(size=(spec.codebook_size, self.space.dim)), jnp.float32)
        self.codebook, self.sums = Buffer(codes), Buffer(codes)
        self.counts = Buffer(jnp.ones(spec.codebook_size))

    def table(self) -> jax.Array:
        return self.codebook[...]

    def losses(self, match: Match) -> dict[str, jax.Array]:
        return {"commitment": self.spec.beta * jnp.square(match.z - stop_gradient(match.q)).mean()}

    def learn(self, z: jax.Array, index: jax.Array, counts: jax.Array, passing: jax.Array | bool) -> None:
        share = 1 - self.spec.decay
        total = jnp.zeros_like(self.sums[...]).at[index].add(z)
        averaged = self.counts[...] + share * (counts - self.counts[...])
        sums = self.sums[...] + share * (total - self.sums[...])
        mass = averaged.sum()
        smoothed = (averaged + self.spec.epsilon) / (mass + len(counts) * self.spec.epsilon) * mass
        learned = {"codebook": sums / smoothed[:, None], "counts": averaged, "sums": sums}
        for name, value in learned.items():
            variable = getattr(self, name)
            variable[...] = jnp.where(passing, variable[...], value)

    def placed(self, at: Placement) -> dict[str, jax.Array]:
        rows = at.which[:, None]
        return {
            "codebook": jnp.where(rows, at.values, self.codebook[...]),
            "counts": jnp.where(at.which, at.counts, self.counts[...]),
            "sums": jnp.where(rows, at.values * at.counts[:, None], self.sums[...]),
        }
