"""Pictures of any size as pictures of one size, each cell the mean of the area that it covers."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray


def area_resized(pictures: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    """[... H W] -> [... *size]."""
    rows, columns = (_weights(was, now) for was, now in zip(pictures.shape[-2:], size, strict=True))
    resized: NDArray[np.float32] = (rows @ pictures.astype(np.float32, copy=False) @ columns.T).astype(
        np.float32, copy=False
    )
    return resized


@cache
def _weights(was: int, now: int) -> NDArray[np.float32]:
    """Share [now was] of each old cell in each new one; rows add up to 1."""
    edges = np.linspace(0, was, now + 1)
    lower, upper = edges[:-1, None], edges[1:, None]
    cells = np.arange(was)
    overlap = np.minimum(upper, cells + 1) - np.maximum(lower, cells)
    shares: NDArray[np.float32] = (np.maximum(overlap, 0) * now / was).astype(np.float32)
    return shares
