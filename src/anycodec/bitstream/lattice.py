"""The order in which the values of a segment are coded, and which values lie beside each one by then.

Values are coded in steps. All values of a step are predicted and decoded at once, from values of steps
before, so that arrays do the work:

    TC      each channel is cut into lanes of equal length; step i codes the i-th sample of all lanes
    HWC     step (w + 2 h) C + c, a front that moves across the picture with a slope of 2 : 1
    THWC    step (w + 2 h + 4 t) C + c, so that the frames before are ahead by two rows and more

Values live in a flat array with a margin of zeros, where a neighbour is at a fixed distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from anycodec.types import Axes

Integers = NDArray[np.int64]

HISTORY = 20
"""Samples before the first of a lane: its margin, and the farthest neighbour of a sample."""
SHORTEST_LANE = 512
LANES = 1024
_ACTIVITY = (4, 3, 2, 2, 1, 1, 1, 1)
"""Weights of the residuals at neighbours that say how large the next one will be, nearest first."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Where values are and in which order.

    Attributes:
        size: of the flat array.
        places: [n] of the values in it, values in the order of the segment's array (channels last).
        channels: [n] of each value.
        order: [n] indices of values in coding order.
        steps: borders of the steps in that order.
        taps: distances of the neighbours, nearest first.
        activity: distances and weights of the residuals that tell the scale of the next.
    """

    size: int
    places: Integers
    channels: Integers
    order: Integers
    steps: Integers
    taps: Integers
    activity: tuple[tuple[int, int], ...] = field(default=())

    def spread(self, values: NDArray[np.int64]) -> Integers:
        """Values of the segment in the flat array."""
        flat = np.zeros(self.size, np.int64)
        flat[self.places] = values.reshape(-1)
        return flat

    def stretches(self) -> Iterator[Integers]:
        """Indices of the values of each step."""
        for start, stop in zip(self.steps[:-1].tolist(), self.steps[1:].tolist(), strict=True):
            yield self.order[start:stop]


def lane_length(n: int) -> int:
    """Samples of a lane for n samples a channel: many lanes are fast, long lanes small."""
    return max(SHORTEST_LANE, -(-n // LANES))


def make_lattice(axes: Axes, shape: Sequence[int], lane: int) -> Lattice:
    """The lattice of a segment whose values have this shape.

    Args:
        axes: layout of the values.
        shape: their shape, channels last.
        lane: samples of a lane, only for `TC`.
    """
    if axes == "TC":
        return _series(shape[0], shape[1], lane)
    frames = shape[0] if axes == "THWC" else 1
    return _pictures(frames, *shape[-3:])


def _series(length: int, channels: int, lane: int) -> Lattice:
    lanes = -(-length // lane)
    width = HISTORY + lane
    sample, channel = (axis.reshape(-1) for axis in np.indices((length, channels)))
    step = sample % lane
    places = (channel * lanes + sample // lane) * width + HISTORY + step
    return _lattice(
        channels * lanes * width,
        places,
        channels=channel,
        step=step,
        taps=[-distance for distance in range(1, HISTORY + 1)],
        activity=[(-1 - i, weight) for i, weight in enumerate(_ACTIVITY)],
    )


def _pictures(frames: int, height: int, width: int, channels: int) -> Lattice:
    row, frame = (width + 3) * channels, (height + 3) * (width + 3) * channels
    t, h, w, c = (axis.reshape(-1) for axis in np.indices((frames, height, width, channels)))
    places = (t + 1) * frame + (h + 2) * row + (w + 2) * channels + c
    step = (w + 2 * h + 4 * t) * channels + c
    west, north = -channels, -row
    taps = [west, north, north + west, north - west, 2 * west, 2 * north]
    activity = [(west, 4), (north, 4), (north + west, 2), (north - west, 2)]
    if channels > 1:
        taps += [-1, -1 + west, -1 + north, -2]
        activity += [(-1, 4)]
    if frames > 1:
        taps += [-frame, -frame + west, -frame - west, -frame + north, -frame - north]
        activity += [(-frame, 2)]
    return _lattice((frames + 1) * frame, places, channels=c, step=step, taps=taps, activity=activity)


def _lattice(
    size: int,
    places: Integers,
    *,
    channels: Integers,
    step: Integers,
    taps: Sequence[int],
    activity: Sequence[tuple[int, int]],
) -> Lattice:
    order = np.argsort(step, kind="stable")
    lengths = np.bincount(step) if len(step) else np.zeros(0, np.int64)
    return Lattice(
        size=size,
        places=places,
        channels=channels,
        order=order,
        steps=np.concatenate([[0], np.cumsum(lengths[lengths > 0])]),
        taps=np.array(taps, np.int64),
        activity=tuple(activity),
    )


def before(values: NDArray[np.int64], axes: Axes) -> list[NDArray[np.int64]]:
    """A reference as it is, and moved by one place along the axes of a front."""
    planes = [values]
    for axis in {"TC": (0,), "HWC": (1, 0), "THWC": (2, 1)}[axes]:
        planes += [_moved(values, axis, 1)]
        if axes == "TC":
            planes += [_moved(values, axis, -1)]
    return planes


def _moved(values: NDArray[np.int64], axis: int, by: int) -> NDArray[np.int64]:
    """Values one place on along an axis, the edge repeated."""
    places = np.clip(np.arange(values.shape[axis]) - by, 0, max(0, values.shape[axis] - 1))
    return np.take(values, places, axis=axis)
