"""FSQ: each channel rounded to a few levels (Mentzer et al. 2023, arXiv 2309.15505)."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from numpy.random import Generator

from anycodec.config.quantizer import FsqSpec
from anycodec.jax.layers.linear import EXACT, Linear
from anycodec.jax.quantizers.base import Quantized, Quantizer, TokenGrids
from anycodec.jax.quantizers.space import projections
from anycodec.jax.quantizers.usage import code_use, shannon_entropy, uses

_MARGIN = 1e-3
"""How far bounded latents go beyond the outer levels, so that rounding reaches them."""
_SOFTNESS = 0.5
"""Squared distance, in levels, over which a channel's hold on a level falls by a factor of e."""


class Fsq(Quantizer):
    """q_i = round(b_i) / floor(L_i / 2), b_i = h_i tanh(z_i + s_i) - o_i,

    with h = (L - 1)(1 + margin) / 2, o = 1/2 for even L (else 0) and s = atanh(o / h), so that 0 maps
    to 0. `symmetric`: q_i = 2 floor((L_i - 1)(tanh(z_i) + 1) / 2 + 1/2) / (L_i - 1) - 1. The gradient
    passes the rounding as if it were not there. Channel 0 is the least significant digit of a token.
    `bound: clip` has no tanh: the nearest level. loss = -w H(code) over a batch, see `mean_code_entropy`.
    Learned linear layers lead in and out where latents are wider or narrower than codes.
    """

    def __init__(self, spec: FsqSpec, dim: int, rng: Generator) -> None:
        self.spec = spec
        same = dim == spec.code_dim
        self.project_in: Linear | None
        self.project_out: Linear | None
        self.project_in, self.project_out = (None, None) if same else projections(dim, spec.code_dim, rng)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return self.spec.codebook_sizes

    @property
    def counts(self) -> jax.Array:
        """L_i, [d] int32."""
        return jnp.asarray(self.spec.levels, jnp.int32)

    @property
    def places(self) -> jax.Array:
        """What a step of each channel adds to a token, [d] int32."""
        return jnp.asarray(np.cumprod((1, *self.spec.levels[:-1])), jnp.int32)

    def squash(self, z: jax.Array) -> jax.Array:
        return jnp.tanh(z)

    @property
    def shrinkage(self) -> jax.Array:
        return 1 / (self.counts - 1)

    def __call__(self, z: jax.Array, *, train: bool) -> Quantized:
        points = z.reshape(-1, z.shape[-1]).astype(jnp.float32)
        bounded = self.bound(points if self.project_in is None else self.project_in(points))
        index = self.index_of(stop_gradient(bounded))
        path = self.gradient_path(bounded)
        q = self.codes_of(index) + (path - stop_gradient(path))
        values = q if self.project_out is None else self.project_out(q)
        stats = code_use(uses(index, self.spec.codebook_size))
        return Quantized(values.reshape(z.shape), (index.reshape(z.shape[:-1]),), self.losses(bounded), stats)

    def lookup(self, tokens: TokenGrids) -> jax.Array:
        (index,) = tokens
        codes = self.codes_of(index)
        return codes if self.project_out is None else self.project_out(codes)

    def bound(self, z: jax.Array) -> jax.Array:
        """Levels before rounding: -floor(L/2) .. floor((L-1)/2), or 0 .. L-1 if symmetric."""
        counts, clip = self.counts, self.spec.bound == "clip"
        if self.spec.symmetric:
            inside = jnp.clip(z, -1, 1) if clip else jnp.tanh(z)
            return (counts - 1) * (inside + 1) / 2
        if clip:
            return jnp.clip(z * (counts // 2), -(counts // 2), (counts - 1) // 2)
        half = (counts - 1) * (1 + _MARGIN) / 2
        offset = jnp.where(counts % 2 == 0, 0.5, 0.0)
        return jnp.tanh(z + jnp.arctanh(offset / half)) * half - offset

    def index_of(self, bounded: jax.Array) -> jax.Array:
        """Number of the grid point of each row of [N d]."""
        symmetric = self.spec.symmetric
        digits = jnp.floor(bounded + 0.5) if symmetric else jnp.round(bounded) + self.counts // 2
        return (digits.astype(jnp.int32) * self.places).sum(axis=-1)

    def codes_of(self, index: jax.Array) -> jax.Array:
        """Grid points [... d] of their numbers [...]."""
        digits = index[..., None] // self.places % self.counts
        if self.spec.symmetric:
            return digits * 2 / (self.counts - 1) - 1
        return (digits - self.counts // 2) / (self.counts // 2)

    def gradient_path(self, bounded: jax.Array) -> jax.Array:
        """What carries the gradient of the codes: [N d] in the units of the codes."""
        return bounded * 2 / (self.counts - 1) if self.spec.symmetric else bounded / (self.counts // 2)

    def losses(self, bounded: jax.Array) -> dict[str, jax.Array]:
        """Weighted terms from bounded latents [N d]."""
        if self.spec.entropy_weight == 0:
            return {}
        lowest = 0 if self.spec.symmetric else -(self.counts // 2)
        return {"entropy": -self.spec.entropy_weight * mean_code_entropy(bounded - lowest, self.spec.levels)}


def mean_code_entropy(position: jax.Array, counts: Sequence[int]) -> jax.Array:
    """Entropy in nats of the mean over N of the products of soft levels.

    p_i(l) = softmax_l(-(x_i - l)^2 / softness) for channel i; mean_n prod_i p_i = A^T B / N with the
    products of the first channels A [N K'] and of the last B [N K/K'].

    Args:
        position: bounded latents [N d] from 0 to L_i - 1.
        counts: L_i.
    """
    half = len(counts) // 2
    first, last = _joint(position[:, :half], counts[:half]), _joint(position[:, half:], counts[half:])
    return shannon_entropy(jnp.matmul(first.T, last, precision=EXACT) / len(position))


def _joint(position: jax.Array, counts: Sequence[int]) -> jax.Array:
    """Probabilities [N prod L] of all combinations of levels."""
    table = jnp.ones((len(position), 1))
    for x, size in zip(position.T, counts, strict=True):
        p = jax.nn.softmax(-jnp.square(x[:, None] - jnp.arange(size)) / _SOFTNESS, axis=1)
        table = (table[:, :, None] * p[:, None, :]).reshape(len(position), -1)
    return table
