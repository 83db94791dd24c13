"""Nearest code by squared Euclidean distance, in memory that grows with neither N nor K."""

from __future__ import annotations

import torch
from torch import Tensor

_TILE = 2**22
"""Scores held at once (16 MiB of float32)."""
_COLUMNS = 2**14
"""Codes of a tile; larger codebooks are searched part by part, which keeps tiles near square."""


@torch.no_grad()
def nearest(z: Tensor, codes: Tensor) -> Tensor:
    """Index of the nearest code of each row; ties go to the lowest index.

    argmin_k |z - c_k|^2 = argmin_k |c_k|^2 / 2 - z.c_k, in float32 whatever the autocast.

    Args:
        z: [N D].
        codes: [K D].

    Returns:
        [N] int64.
    """
    with torch.autocast(z.device.type, enabled=False):
        z, codes = z.float(), codes.float()
        half_norm = codes.square().sum(dim=1).mul_(0.5)
        rows = max(1, _TILE // min(len(codes), _COLUMNS))
        index = torch.empty(len(z), dtype=torch.int64, device=z.device)
        for start in range(0, len(z), rows):
            index[start : start + rows] = _nearest_of_rows(z[start : start + rows], codes, half_norm)
        return index


def _nearest_of_rows(z: Tensor, codes: Tensor, half_norm: Tensor) -> Tensor:
    """Running minimum over parts of the codebook."""
    best, index = _best(z, codes[:_COLUMNS], half_norm[:_COLUMNS])
    for start in range(_COLUMNS, len(codes), _COLUMNS):
        part = slice(start, start + _COLUMNS)
        score, candidate = _best(z, codes[part], half_norm[part])
        index = torch.where(score < best, candidate + start, index)
        best = torch.minimum(best, score)
    return index


def _best(z: Tensor, codes: Tensor, half_norm: Tensor) -> tuple[Tensor, Tensor]:
    score, index = torch.addmm(half_norm, z, codes.T, alpha=-1).min(dim=1)
    return score, index
