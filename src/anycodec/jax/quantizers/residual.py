"""Residual quantisation: stages that each quantise what the ones before left."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import add

import jax
import jax.numpy as jnp
from flax import nnx
from jax.lax import stop_gradient
from numpy.random import Generator

from anycodec.config.quantizer import ResidualSpec
from anycodec.jax.layers.linear import Linear
from anycodec.jax.quantizers import make_quantizer
from anycodec.jax.quantizers.base import Quantized, Quantizer, TokenGrids
from anycodec.jax.quantizers.beam import beam_search
from anycodec.jax.quantizers.codebook import CodebookQuantizer
from anycodec.jax.quantizers.space import projections
from anycodec.jax.quantizers.usage import level_stats
from anycodec.jax.variables import Draws


class Residual(Quantizer):
    """r_0 = z, q_i = Q_i(r_i), r_(i+1) = r_i - sg(q_i); value = sum q_i (Zeghidour et al. 2021,

    arXiv 2107.03312). Losses are sums over stages. The gradient of the value is the mean of the stages'
    gradients, straight-through where theirs is. Codes narrower than the latent are narrow in all stages
    alike: linear layers lead in before the first and out after the last. Quantizers with a fixed grid
    see r_i magnified by how much a stage shrinks it, and those with a range get z squashed into it.

    In training, a share `dropout` of the batches is restored from the first n stages, n uniform in
    1 .. stages: any number of levels can be decoded later. All stages give tokens and learn from every
    batch; a shared codebook of moving averages learns from one stage before the next uses it.

    In evaluation the codes of all stages can be chosen together (`beam`).
    """

    def __init__(self, spec: ResidualSpec, dim: int, rng: Generator) -> None:
        self.spec = spec
        width = spec.quantizer.code_dim or dim
        self.project_in: Linear | None
        self.project_out: Linear | None
        self.project_in, self.project_out = (None, None) if width == dim else projections(dim, width, rng)
        stage = spec.stage
        books = 1 if spec.shared else spec.stages
        self.books: nnx.List[Quantizer] = nnx.List([make_quantizer(stage, width, rng) for _ in range(books)])
        self.draws = Draws.of(rng) if spec.dropout else None

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return self._stage(0).codebook_sizes * self.spec.stages

    def __call__(self, z: jax.Array, *, train: bool) -> Quantized:
        latents = self._enter(z)
        chosen = None if train or self.spec.beam == 1 else self._chosen(latents)
        left = latents
        outs: list[Quantized] = []
        values: list[jax.Array] = []
        for i, stage, scale in self._stages():
            if chosen is None:
                outs.append(stage(left / scale, train=train))
            else:
                assert isinstance(stage, CodebookQuantizer)
                outs.append(stage(left / scale, train=train, chosen=chosen[:, i]))
            values.append(outs[-1].values * scale)
            left = left - stop_gradient(values[-1])
        return Quantized(
            self._leave(self._restored(values, train=train)),
            tuple(grid for out in outs for grid in out.tokens),
            {name: reduce(add, [out.losses[name] for out in outs]) for name in outs[0].losses},
            level_stats([out.stats for out in outs]),
        )

    def _chosen(self, latents: jax.Array) -> jax.Array:
        """Codes of all stages by beam search [N S]."""
        tables = [stage.codes() for _, stage, _ in self._stages() if isinstance(stage, CodebookQuantizer)]
        return beam_search(latents.reshape(-1, latents.shape[-1]), tables, self.spec.beam)

    def _restored(self, values: list[jax.Array], *, train: bool) -> jax.Array:
        """The sum of the stages that this batch is restored from, with the mean of their gradients."""
        if not train or self.draws is None:
            path = reduce(add, values) / len(values)
            return stop_gradient(reduce(add, values)) + (path - stop_gradient(path))
        drawn = jax.random.uniform(self.draws.next(), (2,))
        some = 1 + (drawn[1] * len(values)).astype(jnp.int32)
        kept = jnp.where(drawn[0] < self.spec.dropout, some, len(values))
        total = reduce(add, [jnp.where(i < kept, value, 0.0) for i, value in enumerate(values)])
        path = total / kept
        return stop_gradient(total) + (path - stop_gradient(path))

    def lookup(self, tokens: TokenGrids) -> jax.Array:
        """Values of the tokens of all stages, or of the first few: coarser."""
        values = [stage.lookup((tokens[i],)) * scale for i, stage, scale in self._stages() if i < len(tokens)]
        return self._leave(reduce(add, values))

    @property
    def latents_wanted(self) -> int:
        return max(stage.latents_wanted for _, stage, _ in self._stages())

    def start(self, latents: jax.Array) -> None:
        """Each stage starts on what the ones before leave; a shared codebook on what all stages get."""
        if self.latents_wanted == 0:
            return
        left = self._enter(latents)
        pool: list[jax.Array] = []
        for _, stage, scale in self._stages():
            if stage.latents_wanted:
                stage.start(left / scale)
            pool.append(left / scale)
            left = left - stage((left / scale)[None], train=False).values[0] * scale
        if self.spec.shared:
            self._stage(0).start(jnp.concatenate(pool))

    def _enter(self, z: jax.Array) -> jax.Array:
        """Latents [.. D] -> what the first stage gets [.. d], in float32."""
        z = z.astype(jnp.float32)
        return self._stage(0).squash(z if self.project_in is None else self.project_in(z))

    def _leave(self, values: jax.Array) -> jax.Array:
        return values if self.project_out is None else self.project_out(values)

    def _stage(self, i: int) -> Quantizer:
        return self.books[0 if self.spec.shared else i]

    def _stages(self) -> Iterator[tuple[int, Quantizer, jax.Array]]:
        """Number, quantizer and scale, [] or [d], of each stage."""
        for i in range(self.spec.stages):
            yield i, self._stage(i), self._stage(0).shrinkage ** i
