"""Tokens of a codec's data, in lanes as a prior codes them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.prior_lanes import (
    SHORTEST_LANE,
    Grid,
    Layout,
    Neighbours,
    in_lanes,
    margins_of,
)
from anycodec.data.dataset import PlacedWindows, WindowDataset
from anycodec.data.window import Windower
from anycodec.errors import DataError
from anycodec.types import SignalInfo, Tokens
from anycodec.workflows.pipeline import Pipeline

BATCH_VALUES = 2**18
"""Scalar values that are encoded in one call."""


@dataclass(frozen=True, slots=True)
class Series:
    """Tokens [n *g] of each level of windows that follow each other in time."""

    grids: tuple[Grid, ...]


def beside(windower: Windower, shape: Sequence[int]) -> int:
    """Windows of the same time, of the windows of a segment of this shape."""
    if len(windower.size) == 1 or windower.clips:
        return windower.side_by_side(shape)
    leading = math.prod(shape[: -1 - len(windower.size)])
    return windower.count(shape) // max(1, leading)


def beside_of(pipeline: Pipeline, info: SignalInfo, length: int) -> int:
    """`beside` of a segment of a signal."""
    return beside(pipeline.windower, pipeline.shape(info, length))


def series_of(pipeline: Pipeline, windows: WindowDataset, most: int) -> list[Series]:
    """The tokens of a split, up to `most` scalar values: whole signals, drawn at random where there are more.

    Raises:
        DataError: nothing could be read.
    """
    items: defaultdict[int, list[PlacedWindows]] = defaultdict(list)
    series: list[Series] = []
    held = done = 0
    for placed in _items(windows, pipeline):
        items[id(placed.piece)].append(placed)
        held += placed.windows.size
        done += placed.windows.size
        if held >= BATCH_VALUES or done >= most:
            series += _encoded(pipeline, items.values())
            items.clear()
            held = 0
        if done >= most:
            break
    series += _encoded(pipeline, items.values())
    if not series:
        raise DataError("no window of the split could be read", where=str(pipeline.source.root))
    return series


def _items(windows: WindowDataset, pipeline: Pipeline) -> Iterator[PlacedWindows]:
    """Items of a split, signal after signal in random order, each in order of time."""
    signals: defaultdict[int, list[int]] = defaultdict(list)
    for index in range(len(windows)):
        signals[windows.piece_of(index)].append(index)
    for chosen in np.random.default_rng(pipeline.spec.seed).permutation(len(signals)):
        for index in signals[chosen]:
            try:
                yield windows.placed(index)
            except DataError:
                if pipeline.source.on_error == "refuse":
                    raise


def _encoded(pipeline: Pipeline, signals: Iterable[Sequence[PlacedWindows]]) -> list[Series]:
    """The tokens of items of some signals."""
    every = [placed for signal in signals for placed in signal]
    if not every:
        return []
    tokens = pipeline.codec.encode(np.concatenate([placed.windows for placed in every]))
    ends = np.cumsum([len(placed.windows) for placed in every])
    lines: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
    for number, placed in enumerate(every):
        picture = placed.piece.entry.axes == "HWC"
        lines[(id(placed.piece), *placed.origin[0 if picture else 1 :])].append(number)
    return [_series(tokens, ends, numbers) for numbers in lines.values()]


def _series(tokens: Tokens, ends: NDArray[np.int64], numbers: Sequence[int]) -> Series:
    starts = np.append(0, ends)
    rows = np.concatenate([np.arange(starts[number], ends[number]) for number in numbers])
    return Series(tuple(grid[rows] for grid in tokens.grids))


class Examples:
    """Tokens with their neighbours: `anycodec.engine.PriorExamples`.

    Args:
        series: of one split.
        contexts: neighbours [J 1 + A] of each level.
        sizes: codes a level.
    """

    def __init__(self, series: Sequence[Series], contexts: Sequence[Grid], sizes: Sequence[int]) -> None:
        shapes = [grid.shape[1:] for grid in series[0].grids]
        longest = max(len(one.grids[0]) for one in series)
        run = min(longest, max(1, -(-SHORTEST_LANE // max(1, math.prod(shapes[0])))))
        self._codes = tuple(sizes)
        self._sizes = [math.prod(shape) for shape in shapes]
        self._run = run
        padded = [_padded(series, level, run, sizes[level]) for level in range(len(shapes))]
        layout = Layout(len(padded[0]), 1, run)
        self._windows = np.flatnonzero(padded[0].reshape(len(padded[0]), -1)[:, 0] != sizes[0])
        lanes = in_lanes(padded, layout, sizes, margins_of(contexts))
        self._lanes = lanes
        self._neighbours = [Neighbours(lanes[: level + 1], contexts[level]) for level in range(len(shapes))]

    def count(self, level: int) -> int:
        """Tokens of a level."""
        return len(self._windows) * self._sizes[level]

    def codes(self, level: int) -> NDArray[np.int64]:
        """How often each code of a level occurs."""
        lanes = self._lanes[level]
        return np.bincount(lanes.tokens()[self._windows].reshape(-1), minlength=self._codes[level])

    def batch(
        self, level: int, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Neighbours [n J], places in the window [n axes] and codes [n] of tokens 0 .. `count` - 1."""
        window, inside = self._windows[rows // self._sizes[level]], rows % self._sizes[level]
        found = window // self._run, window % self._run * self._sizes[level] + inside
        neighbours = self._neighbours[level]
        codes = self._lanes[level].flat[neighbours.own(found)]
        return neighbours.tokens(found).astype(np.int64), neighbours.places(found), codes.astype(np.int64)


def _padded(series: Sequence[Series], level: int, run: int, nothing: int) -> Grid:
    """The windows of all series, each filled up with nothing to whole lanes."""
    parts = []
    for one in series:
        grid = one.grids[level]
        gap = -len(grid) % run
        parts += [grid, np.full((gap, *grid.shape[1:]), nothing, np.int64)]
    return np.concatenate(parts)
