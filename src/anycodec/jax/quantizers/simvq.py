"""SimVQ: a frozen codebook seen through one learned linear layer (arXiv 2411.02038)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from numpy.random import Generator

from anycodec.config.quantizer import SimVqSpec
from anycodec.jax.layers.linear import EXACT, Linear
from anycodec.jax.layers.start import orthogonal
from anycodec.jax.quantizers.learned import LearnedCodebook
from anycodec.jax.quantizers.renewal import Placement
from anycodec.jax.variables import Buffer


class SimVq(LearnedCodebook):
    """q = E_j W + b with E ~ N(0, 1/D) frozen: every step moves the whole table, so no code dies.

    W starts orthogonal. With `kmeans_init` the frozen table is set to the latents' k-means seen back
    through the layer.
    """

    moved = ("frozen",)

    def __init__(self, spec: SimVqSpec, dim: int, rng: Generator) -> None:
        super().__init__(spec, dim, rng)
        width = self.space.dim
        codes = rng.normal(0, width**-0.5, (spec.codebook_size, width))
        self.frozen = Buffer(jnp.array(codes, jnp.float32))
        self.linear = Linear(orthogonal(rng, width, width))

    def table(self) -> jax.Array:
        return self.linear(self.frozen[...])

    def placed(self, at: Placement) -> dict[str, jax.Array]:
        return {"frozen": jnp.where(at.which[:, None], self._seen_back(at.values), self.frozen[...])}

    def _seen_back(self, codes: jax.Array) -> jax.Array:
        """E = (q - b) W^-1, by the pseudo-inverse where W is near singular."""
        weight, bias = self.linear.weight[...], self.linear.bias
        inverse = jnp.linalg.pinv(weight, rtol=1e-3)
        return jnp.matmul(codes if bias is None else codes - bias[...], inverse.T, precision=EXACT)
