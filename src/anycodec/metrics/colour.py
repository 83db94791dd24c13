"""Levels of pictures that show them in jet colours."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_STEPS = 256
_BITS = 5
"""Bits a channel by which colours are looked up."""


def jet_levels(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The level in [0, 1] whose jet colour (dark blue, cyan, yellow, dark red) is nearest: [... 3] -> [...].

    Exact to about 1/64; nothing that is no jet colour has a level of its own.
    """
    levels, _ = _nearest()
    return levels[_cells(pixels)]


def jet_misfit(pixels: NDArray[np.uint8]) -> float:
    """Mean distance of pixels [... 3] to the nearest jet colour in the unit cube of colours."""
    _, away = _nearest()
    return float(away[_cells(pixels)].mean())


def jet_colours() -> NDArray[np.float32]:
    """The colours [256 3] in [0, 1], at even levels."""
    levels = np.linspace(0, 1, _STEPS)[:, None]
    ramp = np.clip(1.5 - np.abs(4 * levels - np.array([3, 2, 1])), 0, 1)
    colours: NDArray[np.float32] = ramp.astype(np.float32)
    return colours


def _cells(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    red, green, blue = np.moveaxis(pixels.astype(np.int64) >> (8 - _BITS), -1, 0)
    cells: NDArray[np.int64] = (red << 2 * _BITS) + (green << _BITS) + blue
    return cells


@cache
def _nearest() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Level of the nearest colour, and how far it is, for each cell of the cube of colours."""
    side = (np.arange(2**_BITS, dtype=np.float32) + 0.5) / 2**_BITS
    cube = np.stack(np.meshgrid(side, side, side, indexing="ij"), axis=-1).reshape(-1, 3)
    colours = jet_colours()
    squared = np.square(cube).sum(axis=1)[:, None] + np.square(colours).sum(axis=1) - 2 * cube @ colours.T
    nearest = squared.argmin(axis=1)
    away = np.sqrt(np.maximum(squared.min(axis=1), 0))
    return (nearest / (_STEPS - 1)).astype(np.float32), away.astype(np.float32)
