"""Pictures that look like photographs to a codec: dead leaves, light from one side, text-like marks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from anycodec.data.samples.leaves import Float, dead_leaves

SIDE = 256
"""Pixels."""
SENSOR_NOISE = 0.008
"""Deviation of each pixel, full scale 1."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many pictures of each type."""

    rgb: int
    grey: int
    deep: int


PLANS = {"small": Plan(rgb=20, grey=3, deep=1), "full": Plan(rgb=240, grey=12, deep=4)}


@dataclass(frozen=True, slots=True)
class Picture:
    """One file.

    Attributes:
        path: where it goes, relative to the sample folder.
        pixels: uint8 [256 256 3] (rgb), uint8 [256 256] (grey) or uint16 [256 256] (deep).
    """

    path: str
    pixels: NDArray[np.uint8 | np.uint16]


def pictures(seed: int, size: str) -> Iterator[Picture]:
    """Colour, grey and 16-bit grey pictures.

    Args:
        seed: the same seed gives the same pictures.
        size: a key of `PLANS`.
    """
    plan = PLANS[size]
    for kind, count in (("rgb", plan.rgb), ("grey", plan.grey), ("deep", plan.deep)):
        for number in range(1, count + 1):
            rng = np.random.default_rng((seed, number, *kind.encode()))
            yield Picture(f"{kind}_{number:04d}.png", _stored(scene(rng), kind))


def scene(rng: Generator) -> Float:
    """A picture [256 256 3] in [0, 1]."""
    canvas = dead_leaves(SIDE, SIDE, rng)
    for _ in range(rng.integers(0, 3)):
        _write_lines(canvas, rng)
    across, down = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    slope = rng.normal(0, 0.15, 2)
    canvas *= np.exp(slope[0] * across + slope[1] * down)[..., None]
    return np.clip(canvas + rng.normal(0, SENSOR_NOISE, canvas.shape), 0, 1)


def _stored(canvas: Float, kind: str) -> NDArray[np.uint8 | np.uint16]:
    if kind == "rgb":
        return np.rint(canvas * 255).astype(np.uint8)
    grey: Float = canvas @ np.array(LUMA)
    if kind == "grey":
        return np.rint(grey * 255).astype(np.uint8)
    return np.rint(grey * 65535).astype(np.uint16)


def _write_lines(canvas: Float, rng: Generator) -> None:
    """A few lines of made-up letters, 5 x 7 cells each, dark on a pale label."""
    lines, letters, zoom = rng.integers(1, 4), rng.integers(4, 12), rng.integers(1, 3)
    cells = np.zeros((lines * 9 + 1, letters * 6 + 1))
    for line in range(lines):
        for letter in range(letters):
            cells[line * 9 + 1 : line * 9 + 8, letter * 6 + 1 : letter * 6 + 6] = (
                rng.uniform(size=(7, 5)) < 0.45
            )
    marks = cells.repeat(zoom, axis=0).repeat(zoom, axis=1)[..., None]
    top, left = (rng.integers(0, SIDE - extent) for extent in marks.shape[:2])
    paper, ink = rng.uniform(0.75, 0.95, 3), rng.uniform(0.02, 0.2, 3)
    canvas[top : top + marks.shape[0], left : left + marks.shape[1]] = paper + marks * (ink - paper)
