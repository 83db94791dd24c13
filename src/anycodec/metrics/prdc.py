"""Precision, recall, density and coverage of generated samples (Naeem et al. 2020, 2002.09797).

    B(x) = the ball around x that reaches its k-th nearest neighbour in its own set
    precision = share of generated samples in at least one B(real)        (Kynkaanniemi et al. 2019)
    recall    = share of real samples in at least one B(generated)
    density   = mean over generated samples of the number of B(real) that hold it, / k
    coverage  = share of B(real) that hold at least one generated sample

Precision and recall jump with single outliers; density (which can exceed 1) and coverage don't.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from anycodec.metrics.neighbours import Floats, distance_rows, kth_distances, vectors

NEIGHBOURS = 5
"""k, as the paper recommends."""


@dataclass(frozen=True, slots=True)
class Prdc:
    """The four figures, shares of 1; density can exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real: ArrayLike, generated: ArrayLike, k: int = NEIGHBOURS) -> Prdc:
    """Compare two sets of vectors, [N D] and [M D].

    Raises:
        ValueError: sets of different width, or with no more than `k` vectors.
    """
    x, y = vectors(real), vectors(generated)
    reach, own_reach = kth_distances(x, k), kth_distances(y, k)
    held = np.zeros(len(y), np.int64)
    recalled, covered = np.zeros(len(x), bool), np.zeros(len(x), bool)
    for rows, distances in distance_rows(x, y):
        inside = distances < reach[rows, None]
        held += inside.sum(axis=0)
        covered[rows] = inside.any(axis=1)
        recalled[rows] = (distances < own_reach).any(axis=1)
    return Prdc(
        precision=float((held > 0).mean()),
        recall=float(recalled.mean()),
        density=float(held.mean() / k),
        coverage=float(covered.mean()),
    )


def sample_densities(real: ArrayLike, generated: ArrayLike, k: int = NEIGHBOURS) -> Floats:
    """What each generated sample [M] contributes to the density: balls of real samples that hold it, / k.

    Raises:
        ValueError: see `prdc`.
    """
    x, y = vectors(real), vectors(generated)
    reach = kth_distances(x, k)
    held = np.zeros(len(y))
    for rows, distances in distance_rows(x, y):
        held += (distances < reach[rows, None]).sum(axis=0)
    return held / k
