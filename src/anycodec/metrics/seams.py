"""Error where windows meet, beside that in their middle: what codes windows one by one may leave seams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

REACH = 1 / 32
"""Share of a window on either side of a seam that counts as near it."""
MIDDLE = 1 / 4
"""Share of a window that what counts as its middle keeps away from seams."""


class SeamErrors:
    """Sums of squared errors near seams and away from them.

    Args:
        size: extent *s of a window.
        overlaps: values along each axis that neighbouring windows share; a seam is in their middle.
    """

    def __init__(self, size: Sequence[int], overlaps: Sequence[int]) -> None:
        self._size, self._overlaps = tuple(size), tuple(overlaps)
        self._near, self._middle = [0.0, 0], [0.0, 0]

    def update(
        self, original: NDArray[Any], restored: NDArray[Any], mask: NDArray[np.bool_] | None = None
    ) -> None:
        """Add a segment [*lead *spatial C], *spatial as many axes as a window has.

        Args:
            original, restored: equal shapes; windows begin at the first value of each spatial axis.
            mask: False where there is no value, None = everywhere.
        """
        difference = np.subtract(original, restored, dtype=np.result_type(original, restored, np.float32))
        present = np.broadcast_to(True, original.shape) if mask is None else mask
        if mask is not None:
            difference[~mask] = 0
        axes = len(self._size)
        kept = range(original.ndim - 1 - axes, original.ndim - 1)
        folded = tuple(axis for axis in range(original.ndim) if axis not in kept)
        squared = np.square(difference, out=difference).sum(axis=folded, dtype=np.float64)
        counts = present.sum(axis=folded)
        distances = [
            _distance(extent, size, overlap)
            for extent, size, overlap in zip(squared.shape, self._size, self._overlaps, strict=True)
        ]
        pairs = list(zip(distances, self._size, strict=True))
        near = _grid([d < max(1, REACH * size) for d, size in pairs], np.logical_or)
        middle = _grid([d >= MIDDLE * size for d, size in pairs], np.logical_and)
        for sums, region in ((self._near, near), (self._middle, middle)):
            sums[0] += float(squared[region].sum())
            sums[1] += int(counts[region].sum())

    @property
    def ratio(self) -> float | None:
        """Root mean squared error near seams over that in the middle; None without seams or without error."""
        if not self._near[1] or not self._middle[1] or not self._middle[0]:
            return None
        return math.sqrt(self._near[0] / self._near[1] * self._middle[1] / self._middle[0])


def _distance(extent: int, size: int, overlap: int) -> NDArray[np.float64]:
    """Values between each position of an axis and the nearest seam on it; infinite where there is none."""
    hop = size - overlap
    places = np.arange(extent) + 0.5
    seams = np.arange(hop, extent - overlap, hop) + overlap / 2
    if not len(seams):
        return np.full(extent, np.inf)
    after = np.searchsorted(seams, places)
    nearest = [np.abs(places - seams[np.clip(i, 0, len(seams) - 1)]) for i in (after - 1, after)]
    return np.minimum(*nearest)


def _grid(axes: Sequence[NDArray[np.bool_]], combine: np.ufunc) -> NDArray[np.bool_]:
    """One truth a position from those of its coordinates."""
    return np.asarray(reduce(combine.outer, axes))
