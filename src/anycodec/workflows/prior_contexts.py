"""Which neighbours a prior looks at: the writer's choice, which the prior records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.prior_lanes import Grid, lane_axes
from anycodec.config.prior import PriorSpec

_ROWS = ((0, -1), (0, -2), (-1, -2), (-1, -1), (-1, 0), (-1, 1), (-1, 2), (-2, -1), (-2, 0), (-2, 1))
"""Rows and columns off: what was decoded before in a picture, around a token."""
_FRAMES = (*((-1, row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)), (-2, 0, 0))
"""The frame before, and the same place two frames before."""
MOST_COARSER = 4
"""Levels before a level that it looks at."""


def contexts_of(grids: Sequence[Sequence[int]], spec: PriorSpec, *, in_time: bool) -> tuple[Grid, ...]:
    """Neighbours [J 1 + A] of each level: level, and offset along the axes of a lane.

    Args:
        grids: token grid of a window of each level.
        spec: how far to look.
        in_time: whether windows of pictures follow each other in time.
    """
    return tuple(_of_level(level, grids, spec, in_time) for level in range(len(grids)))


def _of_level(level: int, grids: Sequence[Sequence[int]], spec: PriorSpec, in_time: bool) -> Grid:
    axes = lane_axes(grids[level])
    rows: list[tuple[int, ...]] = []
    for source in range(max(0, level - MOST_COARSER), level):
        around = spec.coarser if source == level - 1 else 0
        rows += [(source, *offset) for offset in _around(axes, around)]
    back = spec.before if level == 0 else -(-spec.before // 2)
    rows += [(level, *offset) for offset in _before(axes, back, in_time or len(grids[level]) == 3)]
    found: NDArray[np.int64] = np.array(rows, np.int64)
    return found


def _around(axes: int, reach: int) -> Iterator[tuple[int, ...]]:
    """The same place and those around it, which are all known."""
    if axes == 1:
        yield from ((off,) for off in range(-reach, reach + 1))
    else:
        near = range(-min(reach, 1), min(reach, 1) + 1)
        yield from ((0, row, column) for row in near for column in near)


def _before(axes: int, back: int, in_time: bool) -> Iterator[tuple[int, ...]]:
    """What was decoded before."""
    if axes == 1:
        yield from ((-off,) for off in range(1, back + 1))
        return
    if in_time:
        yield from _FRAMES
    yield from ((0, *offset) for offset in _ROWS)
