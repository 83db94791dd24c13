"""Tables of latents by codes are made tile by tile."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

TILE = 2**22
"""Entries held at once (16 MiB of float32)."""
COLUMNS = 2**14
"""Codes of a tile where a codebook can be searched part by part, which keeps tiles near square."""
GROUP = 16
"""Neighbouring codes whose minimum is taken together."""


def row_tiles(rows: int, columns: int) -> Iterator[slice]:
    """Slices of rows that make tables [n columns] of at most `TILE` entries, of one row at least."""
    step = max(1, TILE // columns)
    for start in range(0, rows, step):
        yield slice(start, start + step)


def half_norms(codes: Tensor) -> Tensor:
    """|c|^2 / 2 of each row of [K D], without another [K D]."""
    return torch.cat([part.square().sum(dim=1) for part in torch.split(codes, 1024)]).mul_(0.5)
