"""Short clips: textured objects bounce and turn in front of a panning background."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from anycodec.data.samples.leaves import Float, Leaf, dead_leaves, draw_leaf, grain, paint

FRAMES = 64
FPS = 25
SIZES = ((128, 128), (120, 160))
"""Height and width; clips take turns."""
CLIPS = {"small": 6, "full": 40}
SENSOR_NOISE = 0.006
"""Deviation of each pixel, full scale 1."""
FASTEST_PAN, FASTEST_OBJECT = 1.2, 2.5
"""Pixels a frame along each axis."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One file.

    Attributes:
        path: where it goes, relative to the sample folder.
        frames: uint8 [T H W 3].
    """

    path: str
    frames: NDArray[np.uint8]


def clips(seed: int, size: str) -> Iterator[Clip]:
    """All clips.

    Args:
        seed: the same seed gives the same frames.
        size: a key of `CLIPS`.
    """
    for number in range(CLIPS[size]):
        height, width = SIZES[number % len(SIZES)]
        rng = np.random.default_rng((seed, number))
        yield Clip(f"clip_{number + 1:03d}.mp4", simulate(height, width, rng))


def simulate(height: int, width: int, rng: Generator) -> NDArray[np.uint8]:
    """Frames [FRAMES H W 3]."""
    pan = rng.uniform(-FASTEST_PAN, FASTEST_PAN, 2)
    margin = np.ceil(np.abs(pan) * FRAMES).astype(int) + 1
    background = dead_leaves(height + margin[0], width + margin[1], rng)
    start = np.where(pan < 0, margin - 1, 0)
    texture = grain(rng)
    objects = [draw_leaf(height, width, rng.uniform(8, 24), rng) for _ in range(rng.integers(2, 6))]
    speeds = rng.uniform(-FASTEST_OBJECT, FASTEST_OBJECT, (len(objects), 2))
    turns = rng.normal(0, 0.05, len(objects))
    frames = np.empty((FRAMES, height, width, 3), np.uint8)
    for time in range(FRAMES):
        canvas = _crop(background, start + pan * time, height, width)
        for leaf, speed, turn in zip(objects, speeds, turns, strict=True):
            paint(canvas, _moved(leaf, speed * time, turn * time, (height, width)), texture)
        canvas += rng.normal(0, SENSOR_NOISE, canvas.shape)
        frames[time] = np.rint(255 * np.clip(canvas, 0, 1))
    return frames


def _crop(picture: Float, corner: Float, height: int, width: int) -> Float:
    """A part [height width 3] of a picture whose corner lies between pixels (bilinear)."""
    whole = corner.astype(int)
    part = picture[whole[0] : whole[0] + height + 1, whole[1] : whole[1] + width + 1]
    down, right = corner - whole
    rows = (1 - down) * part[:-1] + down * part[1:]
    crop: Float = (1 - right) * rows[:, :-1] + right * rows[:, 1:]
    return crop


def _moved(leaf: Leaf, way: Float, turn: float, size: tuple[int, int]) -> Leaf:
    """The leaf after this way, thrown back at the edges of the frame."""
    row, column = (
        side - abs((place + step) % (2 * side) - side)
        for place, step, side in zip(leaf.centre, way, size, strict=True)
    )
    return replace(leaf, centre=(row, column), angle=leaf.angle + turn)
