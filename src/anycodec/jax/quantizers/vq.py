"""VQ: a codebook learned by gradient (van den Oord et al. 2017, arXiv 1711.00937)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from numpy.random import Generator

from anycodec.config.quantizer import VqSpec
from anycodec.jax.layers.start import uniform
from anycodec.jax.quantizers.learned import LearnedCodebook
from anycodec.jax.quantizers.renewal import Placement


class Vq(LearnedCodebook):
    """The codes are parameters that start in U(-1/K, 1/K)."""

    moved = ("codebook",)

    def __init__(self, spec: VqSpec, dim: int, rng: Generator) -> None:
        super().__init__(spec, dim, rng)
        self.codebook = uniform(rng, (spec.codebook_size, self.space.dim), spec.codebook_size**2)

    def table(self) -> jax.Array:
        return self.codebook[...]

    def placed(self, at: Placement) -> dict[str, jax.Array]:
        return {"codebook": jnp.where(at.which[:, None], at.values, self.codebook[...])}
