"""Levels of pictures that show them in colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEPS = 256


def jet_colours(steps: int = _STEPS) -> NDArray[np.float32]:
    """The colours dark blue, blue, cyan, yellow, red, dark red [steps 3] in [0, 1], at even levels."""
    levels = np.linspace(0, 1, steps)[:, None]
    colours: NDArray[np.float32] = np.clip(1.5 - np.abs(4 * levels - np.array([3, 2, 1])), 0, 1).astype(
        np.float32
    )
    return colours


def jet_levels(pixels: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The level in [0, 1] whose jet colour is nearest to each pixel [... 3] in [0, 1], and how far it is."""
    colours = jet_colours()
    flat = pixels.reshape(-1, 3).astype(np.float32)
    squared = np.square(flat).sum(1)[:, None] + np.square(colours).sum(1) - 2 * flat @ colours.T
    nearest = squared.argmin(axis=1)
    away = np.sqrt(np.maximum(squared[np.arange(len(flat)), nearest], 0))
    shape = pixels.shape[:-1]
    levels = (nearest / (len(colours) - 1)).astype(np.float32)
    return levels.reshape(shape), away.reshape(shape)
