"""The space in which latents meet codes: as it is, narrower, or a sphere."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from numpy.random import Generator

from anycodec.config.quantizer import CodebookSpec
from anycodec.jax.layers.linear import Linear
from anycodec.jax.layers.start import orthogonal
from anycodec.jax.quantizers.gradient import unit


class CodeSpace(nnx.Module):
    """Latents [N D] <-> points [N d] that are compared with codes [K d], in float32.

    `code_dim` narrows latents by a learned projection and widens codes again (Yu et al. 2022,
    arXiv 2110.04627, section 3.2). With `distance: cosine` points and codes have length one.
    """

    def __init__(self, spec: CodebookSpec, dim: int, rng: Generator) -> None:
        self.dim = spec.code_dim or dim
        self.cosine = spec.distance == "cosine"
        self.narrow: Linear | None
        self.widen: Linear | None
        self.narrow, self.widen = (
            (None, None) if spec.code_dim is None else projections(dim, spec.code_dim, rng)
        )

    def enter(self, z: jax.Array) -> jax.Array:
        """Latents [N D] -> points [N d]."""
        z = z.astype(jnp.float32)
        return self.on_sphere(z if self.narrow is None else self.narrow(z))

    def leave(self, points: jax.Array) -> jax.Array:
        """Points [N d] -> latents [N D]."""
        return points if self.widen is None else self.widen(points)

    def on_sphere(self, points: jax.Array) -> jax.Array:
        """Rows of length one where distances are cosines: |a - b|^2 = 2 - 2 cos(a, b)."""
        return unit(points) if self.cosine else points


def projections(dim: int, width: int, rng: Generator) -> tuple[Linear, Linear]:
    """Layers from `dim` to `width` channels and back; both start as one orthonormal basis."""
    basis = orthogonal(rng, width, dim)
    return Linear(basis), Linear(nnx.Param(basis[...].T))
