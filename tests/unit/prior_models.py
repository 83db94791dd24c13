"""Priors with random weights, in real and in whole numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.prior import Prior
from anycodec.bitstream.prior_network import quantised
from anycodec.config.prior import PriorSpec
from anycodec.workflows.prior_contexts import contexts_of

CODEC = "ab" * 32
SMALL = PriorSpec(width=16, embedding=4, before=5, coarser=2)


def real_level(rng, contexts, sizes, grid, spec=SMALL, *, groups=None) -> dict[str, NDArray[np.float32]]:
    level, width, embedding = int(contexts[-1, 0]), spec.width, spec.embedding

    def normal(*shape: int, scale: float = 1.0) -> NDArray[np.float32]:
        return (scale * rng.normal(size=shape)).astype(np.float32)

    arrays = {
        f"codes.{source}": normal(sizes[source] + 1, embedding)
        for source in np.unique(contexts[:, 0]).tolist()
    }
    arrays |= {f"places.{axis}": normal(extent, width, scale=0.1) for axis, extent in enumerate(grid)}
    outputs = sizes[level] if groups is None else int(groups.max()) + 1
    inputs = len(contexts) * embedding
    for name, (rows, columns) in {"a": (width, inputs), "b": (width, width), "c": (outputs, width)}.items():
        arrays |= {f"{name}.weight": normal(rows, columns, scale=columns**-0.5), f"{name}.bias": normal(rows)}
    if groups is not None:
        arrays |= {
            "u.weight": normal(4, width, scale=width**-0.5),
            "u.groups": normal(outputs, 4),
            "d.weight": normal(sizes[level], 4),
            "d.bias": normal(sizes[level]),
        }
    return arrays


def make_prior(
    sizes: Sequence[int],
    grids: Sequence[Sequence[int]],
    *,
    seed: int = 0,
    in_time: bool = False,
    spec: PriorSpec = SMALL,
) -> Prior:
    """A prior that knows nothing; levels of more than 64 codes have groups of different sizes."""
    rng = np.random.default_rng(seed)
    levels = []
    for number, contexts in enumerate(contexts_of(grids, spec, in_time=in_time)):
        size = sizes[number]
        groups = None
        if size > 64:
            groups = rng.permutation(np.append(np.arange(size - 1) % 12, 0))
        real = real_level(rng, contexts, sizes, grids[number], spec, groups=groups)
        levels.append(quantised(real, contexts, groups))
    return Prior(CODEC, tuple(sizes), tuple(map(tuple, grids)), tuple(levels))
