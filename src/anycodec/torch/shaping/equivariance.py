"""Latents that keep their meaning when they are shrunk or shifted (EQ-VAE, arXiv 2502.09509, eq. 6)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from anycodec.config.equivariance import EquivarianceSpec
from anycodec.torch.shaping.base import LatentStep, LatentTerm

Pair = tuple[Tensor, Tensor]
"""Windows [B C H W] and latents [B D h w] after the same transformation."""


class Equivariance(LatentTerm):
    """weight * mean |decode(t(z)) - t(x)|, t drawn anew each step: a scale, or a shift.

    Args:
        spec: weight and transformations.
    """

    def __init__(self, spec: EquivarianceSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, step: LatentStep) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        x, z = self._transformed(step.x, step.latents)
        difference = (step.decode(z).float() - x).abs().mean()
        return {"equivariance": self.spec.weight * difference}, {}

    def _transformed(self, x: Tensor, z: Tensor) -> Pair:
        shiftable = self.spec.shift and z.shape[-1] > 1
        draw, amount = torch.rand(2).tolist()
        if shiftable and (self.spec.smallest_scale == 1 or draw < 0.5):
            return shifted(x, z, amount)
        return shrunk(x, z, self.spec.smallest_scale + (1 - self.spec.smallest_scale) * amount)


def shifted(x: Tensor, z: Tensor, part: float) -> Pair:
    """Both without their first `part` of a position along the last axis, and one position shorter.

    Args:
        x: windows [B C H W].
        z: latents [B D h w], w > 1.
        part: 0 to 1, rounded to whole pixels.
    """
    covered = x.shape[-1] // z.shape[-1]
    pixels = round(part * covered)
    between = torch.lerp(z[..., :-1], z[..., 1:], pixels / covered)
    return x[..., pixels : pixels + covered * between.shape[-1]], between


def shrunk(x: Tensor, z: Tensor, scale: float) -> Pair:
    """Both at a share of their size, rounded to whole positions and at least one.

    Args:
        x: windows [B C H W].
        z: latents [B D h w].
        scale: above 0, at most 1.
    """
    grid = [max(1, round(scale * places)) for places in z.shape[2:]]
    size = [
        places * (extent // before)
        for places, extent, before in zip(grid, x.shape[2:], z.shape[2:], strict=True)
    ]
    return _resized(x, size), _resized(z, grid)


def _resized(x: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", antialias=True)
