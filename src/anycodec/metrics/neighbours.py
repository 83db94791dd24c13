"""Euclidean distances between sets of vectors, in bounded memory, and distances to near neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_ROWS = 1024
"""Rows of a distance matrix that are computed at once."""


def vectors(features: ArrayLike) -> Floats:
    """[N D] as float64.

    Raises:
        ValueError: not a set of vectors.
    """
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or not len(x):
        raise ValueError(f"a set of vectors [N D], not {x.shape}")
    return x


def distance_rows(x: Floats, y: Floats) -> Iterator[tuple[slice, Floats]]:
    """Distances of some of `x` to all of `y`, with the rows they are: [n M] of the [N M] in all."""
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"sets of vectors of one width, not {x.shape} and {y.shape}")
    squares = np.einsum("md,md->m", y, y)
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        part = x[rows]
        squared = np.einsum("nd,nd->n", part, part)[:, None] + squares - 2 * part @ y.T
        yield rows, np.sqrt(np.maximum(squared, 0))


def nearest(x: Floats, y: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Distance [N] of each vector of `x` to the nearest of `y`, and which that is [N]."""
    away, places = [], []
    for _, distances in distance_rows(x, y):
        place = distances.argmin(axis=1)
        places.append(place)
        away.append(distances[np.arange(len(place)), place])
    return np.concatenate(away), np.concatenate(places)


def kth_distances(x: Floats, k: int) -> Floats:
    """Distance [N] of each vector to its k-th nearest neighbour in its own set, itself not counted.

    Raises:
        ValueError: the set has no k other vectors.
    """
    if not 1 <= k < len(x):
        raise ValueError(f"the {k}-th neighbour within a set of {len(x)}")
    found = np.empty(len(x))
    for rows, distances in distance_rows(x, x):
        distances[np.arange(len(distances)), np.arange(len(x))[rows]] = 0  # itself, exactly
        found[rows] = np.partition(distances, k, axis=1)[:, k]
    return found
