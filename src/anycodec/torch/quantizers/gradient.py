"""How the gradient of a code reaches its latent; the values are the code's, exactly."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

_SHORTEST = 1e-6


def straight_through(z: Tensor, q: Tensor) -> Tensor:
    """`q` with the gradient of `z` (Bengio et al. 2013, arXiv 1308.3432)."""
    return q.detach() + (z - z.detach())


def rotation(z: Tensor, q: Tensor) -> Tensor:
    """`q` as a fixed rotation and rescaling of `z` [N D] (Fifty et al. 2024, arXiv 2410.06424, eq. 4).

    R z = z - 2 (z.w) w + 2 (z.u) v, with u = z / |z|, v = q / |q|, w = (u + v) / |u + v| held constant:
    the gradient keeps its angle to the code where straight-through keeps its direction.
    """
    u, v = _unit(z.detach()), _unit(q.detach())
    w = _unit(u + v)
    turned = z - 2 * _dot(z, w) * w + 2 * _dot(z, u) * v
    scale = q.detach().norm(dim=1, keepdim=True) / z.detach().norm(dim=1, keepdim=True).clamp(min=_SHORTEST)
    return straight_through(turned * scale, q)


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=1, eps=_SHORTEST)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=1, keepdim=True)
