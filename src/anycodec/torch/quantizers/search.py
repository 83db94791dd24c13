"""Nearest code by squared Euclidean distance, in memory that does not grow with N x K."""

from __future__ import annotations

import torch
from torch import Tensor

_TILE = 2**22
"""Distances held at once (16 MiB of float32)."""


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
        rows = max(1, _TILE // len(codes))
        if rows >= len(z):
            return torch.addmm(half_norm, z, codes.T, alpha=-1).argmin(dim=1)
        index = torch.empty(len(z), dtype=torch.int64, device=z.device)
        scores = torch.empty(rows, len(codes), device=z.device)
        for start in range(0, len(z), rows):
            part = z[start : start + rows]
            tile = scores[: len(part)]
            torch.addmm(half_norm, part, codes.T, alpha=-1, out=tile)
            torch.argmin(tile, dim=1, out=index[start : start + rows])
        return index
