"""Does a generator repeat its training samples? Distances to the nearest of them, against held-out data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from anycodec.metrics.neighbours import nearest, vectors


@dataclass(frozen=True, slots=True)
class Memorisation:
    """Distances to the nearest training sample.

    Attributes:
        generated: median over generated samples.
        held_out: median over real samples that the generator has never seen.
        ratio: `generated / held_out`: near 1 as close as new real data, near 0 copies.
        closer: share of generated samples closer than 95 % of the held-out ones: .05 is what chance gives.
    """

    generated: float
    held_out: float
    ratio: float
    closer: float


def memorisation(generated: ArrayLike, training: ArrayLike, held_out: ArrayLike) -> Memorisation:
    """Compare sets of vectors [. D]: samples themselves, or features of them.

    Raises:
        ValueError: empty sets, or sets of different width.
    """
    seen = vectors(training)
    ours, others = (nearest(vectors(part), seen)[0] for part in (generated, held_out))
    usual = float(np.median(others))
    middle = float(np.median(ours))
    return Memorisation(
        generated=middle,
        held_out=usual,
        ratio=middle / usual if usual else float("inf") if middle else 1.0,
        closer=float((ours < np.quantile(others, 0.05)).mean()),
    )
