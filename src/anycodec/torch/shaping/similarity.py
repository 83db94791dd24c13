"""How far latents are from features, position by position (Yao et al. 2025, arXiv 2501.01423, eq. 3 to 6)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def marginal_cosine(z: Tensor, features: Tensor, margin: float) -> Tensor:
    """Mean over positions i of relu(1 - margin - cos(z_i, f_i)).

    Args:
        z: projected latents [B F *g].
        features: [B F *g].
        margin: m1, a distance that costs nothing.
    """
    return F.relu(1 - margin - F.cosine_similarity(z, features, dim=1)).mean()


def marginal_distance_matrix(z: Tensor, features: Tensor, margin: float) -> Tensor:
    """Mean over pairs of positions i, j of a window of relu(|cos(z_i, z_j) - cos(f_i, f_j)| - margin).

    Args:
        z: projected latents [B F *g].
        features: [B F *g].
        margin: m2, a difference that costs nothing.
    """
    return F.relu((_cosines(z) - _cosines(features)).abs() - margin).mean()


def _cosines(x: Tensor) -> Tensor:
    """[B F *g] -> cosines of all pairs of positions [B g g]."""
    units = F.normalize(x.flatten(2), dim=1)
    return units.mT @ units
