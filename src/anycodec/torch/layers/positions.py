"""Where a token stands in a grid of any number of axes: sin-cos embeddings and rotations.

Positions are whole numbers from 0; the width is shared evenly by the axes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

THETA = 1e4
"""Longest wavelength over 2 pi."""


def sincos_positions(grid: tuple[int, ...], width: int) -> Tensor:
    """Embeddings of a grid's positions (arXiv 1706.03762), the last axis in the first channels.

    Args:
        grid: positions along each axis.
        width: channels, a multiple of twice the number of axes.

    Returns:
        [N width] of the N positions in row-major order; of an axis's share, sines come before cosines.
    """
    angles = [_angles(places, width // len(grid)) for places in _places(grid).unbind(1)[::-1]]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1).float()


def rotations(grid: tuple[int, ...], width: int) -> Tensor:
    """cos and sin of the angles that rotary embeddings (arXiv 2104.09864) turn pairs of channels by.

    Args:
        grid: positions along each axis.
        width: channels of a head, a multiple of twice the number of axes.

    Returns:
        [N width/2 2] of the N positions in row-major order; the first axis in the first channels.
    """
    angles = torch.cat([_angles(places, width // len(grid)) for places in _places(grid).unbind(1)], dim=1)
    return torch.stack((angles.cos(), angles.sin()), dim=2).float()


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn pairs of adjacent channels (a, b) -> (a cos - b sin, a sin + b cos), in float32.

    Args:
        x: [B N ... width].
        rotation: [N width/2 2] of `rotations`.
    """
    turned = rotation.float().view(len(rotation), *(1,) * (x.dim() - 3), -1, 2)
    pairs = x.float().view(*x.shape[:-1], -1, 2)
    if torch.compiler.is_compiling():  # which knows no complex numbers, but fuses this
        (a, b), (cos, sin) = pairs.unbind(-1), turned.unbind(-1)
        return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)
    return torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(turned)).flatten(-2)


def _places(grid: tuple[int, ...]) -> Tensor:
    """Coordinates [N axes] in row-major order."""
    axes = [torch.arange(extent, dtype=torch.float64) for extent in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)


def _angles(places: Tensor, width: int) -> Tensor:
    """place / theta^(2 k / width) of places [N], k = 0 .. width/2 - 1: [N width/2]."""
    frequencies = torch.exp(-math.log(THETA) * torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.outer(places, frequencies)
