"""Dead leaves: textured shapes that hide each other, the simplest model with the statistics of natural
pictures (edges at all scales and a 1/f spectrum; Lee, Mumford, Huang, IJCV 41, 2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

Float = NDArray[np.float64]

GRAIN_SIZE = 256
"""Side of a texture, which repeats without a seam."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A shape on a canvas; lengths in pixels, angle in radians.

    Attributes:
        centre: row and column.
        radii: along its own two axes.
        roundness: exponent of the superellipse: 1 diamond, 2 ellipse, 8 almost a rectangle.
        colour: RGB in [0, 1].
        contrast: deviation of its texture, relative to the colour.
        slope: change of brightness from its centre to its end, relative.
        origin: where in the texture its centre lies.
    """

    centre: tuple[float, float]
    radii: tuple[float, float]
    angle: float
    roundness: float
    colour: tuple[float, float, float]
    contrast: float
    slope: float
    origin: tuple[float, float]


def grain(rng: Generator) -> Float:
    """1/f texture [GRAIN_SIZE GRAIN_SIZE], mean 0, deviation 1."""
    rows, columns = np.fft.fftfreq(GRAIN_SIZE), np.fft.rfftfreq(GRAIN_SIZE)
    frequency = np.hypot(rows[:, None], columns)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((GRAIN_SIZE, GRAIN_SIZE))) / frequency
    texture = np.fft.irfft2(spectrum)
    standard: Float = texture / texture.std()
    return standard


def colour(rng: Generator) -> tuple[float, float, float]:
    """Brightness varies much, hue little, as in photographs."""
    red, green, blue = np.clip(rng.normal(0.45, 0.22) + rng.normal(0, 0.08, 3), 0.02, 0.98)
    return float(red), float(green), float(blue)


def draw_leaf(height: int, width: int, radius: float, rng: Generator) -> Leaf:
    """A random leaf of about this radius somewhere on the canvas."""
    stretch = np.exp(rng.normal(0, 0.3))
    return Leaf(
        centre=(rng.uniform(0, height), rng.uniform(0, width)),
        radii=(radius * stretch, radius / stretch),
        angle=rng.uniform(0, np.pi),
        roundness=float(rng.choice([1.0, 2.0, 2.0, 8.0])),
        colour=colour(rng),
        contrast=rng.uniform(0.02, 0.2),
        slope=rng.normal(0, 0.2),
        origin=(rng.uniform(0, GRAIN_SIZE), rng.uniform(0, GRAIN_SIZE)),
    )


def paint(canvas: Float, leaf: Leaf, texture: Float) -> None:
    """Lay a leaf over a canvas [H W 3], with smooth edges."""
    reach = float(np.hypot(*leaf.radii)) + 1
    corner = [max(0, int(place - reach)) for place in leaf.centre]
    far = [min(side, int(place + reach) + 2) for side, place in zip(canvas.shape, leaf.centre, strict=False)]
    if far[0] <= corner[0] or far[1] <= corner[1]:
        return
    rows = np.arange(corner[0], far[0])[:, None] - leaf.centre[0]
    columns = np.arange(corner[1], far[1]) - leaf.centre[1]
    along = rows * np.cos(leaf.angle) + columns * np.sin(leaf.angle)
    across = columns * np.cos(leaf.angle) - rows * np.sin(leaf.angle)
    a, b = leaf.radii
    distance = (np.abs(along / a) ** leaf.roundness + np.abs(across / b) ** leaf.roundness) ** (
        1 / leaf.roundness
    )
    cover = np.clip((1 - distance) * min(a, b) + 0.5, 0, 1)[..., None]
    places = np.stack([along + leaf.origin[0], across + leaf.origin[1]])
    shade = 1 + leaf.slope * along / a
    shade += leaf.contrast * ndimage.map_coordinates(texture, places, order=1, mode="grid-wrap")
    region = canvas[corner[0] : far[0], corner[1] : far[1]]
    region += cover * (shade[..., None] * leaf.colour - region)


def dead_leaves(height: int, width: int, rng: Generator) -> Float:
    """A canvas [H W 3], values about [0, 1], full of leaves with radii of density r^-3."""
    texture = grain(rng)
    canvas = np.zeros((height, width, 3))
    paint(canvas, draw_leaf(height, width, 4.0 * (height + width), rng), texture)
    smallest, largest = 4.0, min(height, width) / 3
    uniform = rng.uniform(size=height * width // 160)
    radii = (smallest**-2 - uniform * (smallest**-2 - largest**-2)) ** -0.5
    for radius in radii:
        paint(canvas, draw_leaf(height, width, float(radius), rng), texture)
    return canvas
