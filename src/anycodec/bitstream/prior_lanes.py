"""Tokens of a stream as lanes, which are coded side by side, and the places that a prior looks at.

A lane is `run` windows that follow each other in time. Window w stands at step w // beside, and lane
w % beside + beside * (step // run) has it. The axes of a lane are time, which goes on from window to
window, and for pictures rows and columns:

    token grid of a window    axes of a lane
    (T)                       (run T)
    (H, W)                    (run, H, W)
    (T, H, W)                 (run T, H, W)

Beyond its ends, and where no window is, there is nothing: a code of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.fields import Damaged

Grid = NDArray[np.int64]
Rows = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Lane and place within the lane of each token."""

STEPS = {1: (1,), 3: (5, 3, 1)}
"""A token at place p along the axes of a lane is coded in step p . STEPS, after all that it looks at."""
SHORTEST_LANE = 256
"""Tokens of a lane, about, where windows are smaller: its first ones know little."""
MOST_LANES = 64
"""As many lanes, about, keep a processor busy; more of them are cut into longer ones."""
LONGEST_LANE = 2**14
"""Tokens of a lane; longer ones only where there are `FEWEST_LANES`. Bounds the steps of a stream."""
FEWEST_LANES = 16


def lane_axes(grid: Sequence[int]) -> int:
    """Axes of a lane for windows of this token grid."""
    return 1 if len(grid) == 1 else 3


def time_extent(grid: Sequence[int]) -> int:
    """Places along the time axis of a lane that one window has."""
    return 1 if len(grid) == 2 else grid[0]


def _space(grid: Sequence[int]) -> tuple[int, ...]:
    """Extents of a lane without time."""
    return tuple(grid) if len(grid) == 2 else tuple(grid[1:])


@dataclass(frozen=True, slots=True)
class Layout:
    """Windows in lanes.

    Attributes:
        windows: N.
        beside: windows of the same time.
        run: windows of a lane.
    """

    windows: int
    beside: int
    run: int

    @classmethod
    def chosen(cls, windows: int, beside: int, grid: Sequence[int]) -> Layout:
        """Lanes that are many enough to be quick, and long enough to know what came before."""
        steps = -(-windows // beside)
        run = max(-(-SHORTEST_LANE // max(1, math.prod(grid))), -(-steps * beside // MOST_LANES))
        return cls(windows, beside, max(1, min(run, steps)))

    @classmethod
    def read(cls, windows: int, beside: int, run: int, grid: Sequence[int]) -> Layout:
        """As a stream says.

        Raises:
            Damaged: impossible, or of too many steps.
        """
        if not 1 <= beside <= max(1, windows) or not 1 <= run <= max(1, -(-windows // beside)):
            raise Damaged(f"{windows} windows in runs of {run}, {beside} beside each other")
        layout = cls(windows, beside, run)
        if run * math.prod(grid) > LONGEST_LANE and run > 1 and layout.lanes < FEWEST_LANES:
            raise Damaged(f"{layout.lanes} lanes of {run} windows are too few")
        return layout

    @property
    def lanes(self) -> int:
        """How many there are."""
        return -(-self.windows // (self.beside * self.run)) * self.beside

    def extents(self, grid: Sequence[int]) -> tuple[int, ...]:
        """Of a lane along its axes."""
        return (self.run * time_extent(grid), *_space(grid))

    def fold(self, tokens: Grid, nothing: int) -> Grid:
        """[N *g] -> [lanes *extents]."""
        grid = tokens.shape[1:]
        chunks = self.lanes // self.beside
        full = np.full((chunks * self.run * self.beside, *grid), nothing, np.int64)
        full[: self.windows] = tokens
        lanes = full.reshape(chunks, self.run, self.beside, *grid).swapaxes(1, 2)
        return lanes.reshape(self.lanes, *self.extents(grid))

    def unfold(self, lanes: Grid, grid: Sequence[int]) -> Grid:
        """Inverse of `fold`."""
        chunks = self.lanes // self.beside
        windows = lanes.reshape(chunks, self.beside, self.run, *grid).swapaxes(1, 2)
        return windows.reshape(-1, *grid)[: self.windows]

    def steps(self, grid: Sequence[int]) -> Iterator[Rows]:
        """The tokens of each step, by lane, and by place within a lane."""
        places = coordinates(self.extents(grid))
        number = places @ np.array(STEPS[lane_axes(grid)])
        order = np.argsort(number, kind="stable")
        borders = np.flatnonzero(np.diff(number[order])) + 1
        lane = np.arange(self.lanes)[:, None]
        first = (lane // self.beside * self.run) * self.beside + lane % self.beside  # [lanes 1]
        window = places[:, 0] // time_extent(grid)  # of each place, within its lane
        for at in np.split(order, borders) if len(order) else ():
            there = first + window[at] * self.beside < self.windows
            if there.any():
                lanes, which = np.nonzero(there)
                yield lanes, at[which]


def coordinates(extents: Sequence[int]) -> Grid:
    """[P A]: of all places, in order."""
    return np.stack(np.unravel_index(np.arange(math.prod(extents)), tuple(extents)), axis=-1)


class LaneTokens:
    """Tokens of one level in lanes, with margins of nothing around.

    Args:
        layout: of the windows.
        grid: of a window's tokens.
        nothing: code K.
        margins: along each axis of a lane.
    """

    def __init__(self, layout: Layout, grid: Sequence[int], nothing: int, margins: Sequence[int]) -> None:
        self.layout, self.grid, self._nothing = layout, tuple(grid), nothing
        self._margins = np.array(margins)
        extents = np.array(layout.extents(grid))
        self._padded = tuple((extents + 2 * self._margins).tolist())
        self._values = np.full((layout.lanes, *self._padded), nothing, np.int32)
        self._inside = (slice(None), *(slice(m, m + e) for m, e in zip(margins, extents, strict=True)))
        self.flat = self._values.reshape(-1)
        """All values, margins too."""
        self.lane_size = math.prod(self._padded)
        """Values of a lane, margins too."""

    def fill(self, tokens: Grid) -> None:
        """Set all tokens [N *g]."""
        self._values[self._inside] = self.layout.fold(tokens, self._nothing)

    def tokens(self) -> Grid:
        """[N *g]."""
        return self.layout.unfold(self._values[self._inside].astype(np.int64), self.grid)

    def at(self, places: Grid) -> NDArray[np.int64]:
        """Index within a lane of places [P A] along its axes."""
        return np.asarray(np.ravel_multi_index(tuple((places + self._margins).T), self._padded), np.int64)

    def moved(self, offsets: Grid) -> NDArray[np.int64]:
        """Index difference of offsets [J A]."""
        strides = np.cumprod([1, *self._padded[:0:-1]])[::-1]
        return np.asarray(offsets @ strides, np.int64)


def margins_of(contexts: Sequence[Grid]) -> tuple[tuple[int, ...], ...]:
    """Margins of each level along the axes of a lane, for the contexts [J 1 + A] of all levels."""
    margins = np.zeros((len(contexts), contexts[0].shape[1] - 1), np.int64)
    for context in contexts:
        np.maximum.at(margins, context[:, 0], np.abs(context[:, 1:]))
    return tuple(map(tuple, margins.tolist()))


def in_lanes(
    tokens: Sequence[Grid], layout: Layout, sizes: Sequence[int], margins: Sequence[Sequence[int]]
) -> list[LaneTokens]:
    """Tokens [N *g] of the first levels in lanes, with margins for all that is looked at."""
    found = []
    for grid, nothing, margin in zip(tokens, sizes, margins, strict=False):
        lanes = LaneTokens(layout, grid.shape[1:], nothing, margin)
        lanes.fill(grid)
        found.append(lanes)
    return found


class Neighbours:
    """What the tokens of one level look at.

    Args:
        sources: tokens of each level up to this one, which comes last.
        contexts: [J 1 + A] level and offset of each neighbour, by level.
    """

    def __init__(self, sources: Sequence[LaneTokens], contexts: Grid) -> None:
        own = sources[-1]
        extents = own.layout.extents(own.grid)
        places = coordinates(extents)
        self._parts = []
        for level in np.unique(contexts[:, 0]).tolist():
            source = sources[level]
            other = source.layout.extents(source.grid)
            base = source.at(places * np.array(other) // np.array(extents))
            offsets = source.moved(contexts[contexts[:, 0] == level, 1:])
            self._parts.append((source, base, offsets))
        self._own = own, own.at(places)
        inside = places if lane_axes(own.grid) == len(own.grid) else places[:, 1:]
        self._places = inside % np.array(own.grid)

    def tokens(self, rows: Rows) -> NDArray[np.int32]:
        """[n J] of these rows."""
        lanes, at = rows
        found = [
            source.flat[(lanes * source.lane_size + base[at])[:, None] + offsets]
            for source, base, offsets in self._parts
        ]
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    def own(self, rows: Rows) -> NDArray[np.int64]:
        """Where the tokens of these rows are among all values of their level."""
        source, base = self._own
        found: NDArray[np.int64] = rows[0] * source.lane_size + base[rows[1]]
        return found

    def places(self, rows: Rows) -> Grid:
        """[n axes] within their windows."""
        found: Grid = self._places[rows[1]]
        return found
