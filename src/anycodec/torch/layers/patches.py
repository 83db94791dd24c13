"""Latents as tokens: a token a patch of p positions along each axis of the grid."""

from __future__ import annotations

from torch import Tensor


def split_patches(x: Tensor, p: int) -> Tensor:
    """[B C *g] -> tokens [B N C*p^n] in row-major order; the channel is the slowest index of a token."""
    axes = x.dim() - 2
    cut = x.reshape(*x.shape[:2], *(part for extent in x.shape[2:] for part in (extent // p, p)))
    places, inside = range(2, 2 + 2 * axes, 2), range(3, 3 + 2 * axes, 2)
    return cut.permute(0, *places, 1, *inside).flatten(1 + axes).flatten(1, axes)


def join_patches(tokens: Tensor, p: int, grid: tuple[int, ...]) -> Tensor:
    """Tokens [B N p^n*C] -> [B C *g], *g = p * `grid`; the channel is the fastest index of a token."""
    axes = len(grid)
    parts = tokens.view(len(tokens), *grid, *(p,) * axes, -1)
    pairs = [axis for i in range(axes) for axis in (1 + i, 1 + axes + i)]
    x = parts.permute(0, 1 + 2 * axes, *pairs)
    return x.reshape(*x.shape[:2], *(extent * p for extent in grid))
