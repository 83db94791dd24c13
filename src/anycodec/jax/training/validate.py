"""Figures of a codec on the validation windows."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from anycodec.jax.codecs import CodecOutput
from anycodec.jax.runtime import replicated
from anycodec.jax.training.batches import shared_batch
from anycodec.jax.training.contest import Terms, total
from anycodec.jax.training.networks import Plan, Tree
from anycodec.training.figures import Pooled


class Validation:
    """The same windows each time, in evaluation mode.

    Args:
        plan: structure of the codec.
        terms: reconstruction terms.
        batches: the windows [B C *s].
        codebook_sizes: codes a level.
        mesh: the devices that share a batch.
    """

    def __init__(
        self,
        plan: Plan,
        terms: Terms,
        batches: Sequence[NDArray[np.float32]],
        codebook_sizes: Sequence[int],
        mesh: Mesh,
    ) -> None:
        self._batches, self._sizes, self._mesh = batches, codebook_sizes, mesh

        def coded(params: Tree, rest: Tree, x: jax.Array) -> tuple[jax.Array, ...]:
            output: CodecOutput = plan.together(params, rest)(x, train=False)
            loss = total(terms(output.reconstruction, x) | dict(output.losses))
            return output.reconstruction, loss, *output.tokens

        self._coded = jax.jit(coded, out_shardings=replicated(mesh))

    def __call__(self, params: Tree, rest: Tree) -> dict[str, float]:
        """Pooled figures over all batches."""
        pooled = Pooled(self._sizes)
        for batch in self._batches:
            x = shared_batch(batch, self._mesh, axis=0)
            reconstruction, loss, *grids = (np.asarray(part) for part in self._coded(params, rest, x))
            pooled.add(batch, reconstruction, float(loss), grids)
        return pooled.figures()
