"""Balanced assignment of a batch to codes by optimal transport (Sinkhorn; Cuturi 2013, arXiv 1306.0895)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from anycodec.torch.quantizers.ranks import join_ranks, sum_over_ranks
from anycodec.torch.quantizers.tiles import row_tiles

CostUnit = Literal["all", "dim", "none"]

_TINY = 1e-8
"""Added to every sum before division, as published: a code whose share is below it is not pulled in."""


class Transport:
    """Q = diag(v) exp(-epsilon C) diag(u): a plan between N latents and K codes of equal shares each.

    C is the Euclidean distance d in a unit: `all` (d - min d) / std d over the whole table, `dim`
    d / sqrt(width), `none` d. From Q / sum Q on, codes and latents are scaled to sums of 1/K and 1/N in
    turns (OptVQ, arXiv 2412.15195, section 3.2), here on log u [K] and log v [N] over tiles of C that
    are computed again each time: N x K is never held. The batches of all processes count as one.

    Args:
        z: this process's latents [N D].
        codes: [K D].
        epsilon: sharpness of the plan.
        iterations: scalings of codes and latents.
        unit: of the cost.
    """

    def __init__(self, z: Tensor, codes: Tensor, epsilon: float, iterations: int, unit: CostUnit) -> None:
        self._z, self._codes = z, codes
        self._epsilon = epsilon
        self._least, self._unit = self._scale(unit)
        self._latents = float(sum_over_ranks(torch.tensor(float(len(z)), device=z.device)))
        self._log_u = self._balance(iterations)

    def plan(self) -> Tensor:
        """The whole plan as shares of each latent, [N K], for small tables."""
        return torch.cat([torch.softmax(scores + self._log_u, dim=1) for _, scores in self._scores()])

    def best(self) -> Tensor:
        """The code with the largest share of each latent, [N] int64."""
        return torch.cat([(scores + self._log_u).argmax(dim=1) for _, scores in self._scores()])

    def _balance(self, iterations: int) -> Tensor:
        size = len(self._codes)
        log_u, log_v = self._codes.new_zeros(size), self._z.new_zeros(len(self._z))
        for step in range(iterations):
            mass = self._mass(log_u, log_v, scale_latents=step > 0)
            if step == 0:
                log_u = log_u - torch.log(mass.exp().sum() + _TINY)
            log_u = log_u - torch.log((torch.exp(log_u + mass) + _TINY) * size)
        return log_u

    def _mass(self, log_u: Tensor, log_v: Tensor, *, scale_latents: bool) -> Tensor:
        """log sum_n v_n exp(-epsilon C_nk), [K]; scales the latents first, in place, where told to."""
        mass = torch.full_like(log_u, -math.inf)
        for tile, scores in self._scores():
            if scale_latents:
                sums = torch.exp(log_v[tile] + torch.logsumexp(scores + log_u, dim=1))
                log_v[tile] -= torch.log((sums + _TINY) * self._latents)
            mass = torch.logaddexp(mass, torch.logsumexp(scores + log_v[tile, None], dim=0))
        return torch.logsumexp(join_ranks(mass[None]), dim=0)

    def _scores(self) -> Iterator[tuple[slice, Tensor]]:
        """Tiles of latents with their -epsilon C, [n K]."""
        for tile, distances in self._distances():
            yield tile, (distances - self._least) * (-self._epsilon / self._unit)

    def _distances(self) -> Iterator[tuple[slice, Tensor]]:
        for tile in row_tiles(len(self._z), len(self._codes)):
            yield tile, torch.cdist(self._z[tile], self._codes)

    def _scale(self, unit: CostUnit) -> tuple[float | Tensor, float | Tensor]:
        """What is taken off distances, and what they are divided by."""
        if unit == "none":
            return 0.0, 1.0
        if unit == "dim":
            return 0.0, math.sqrt(self._z.shape[1])
        sums = self._z.new_zeros(3, dtype=torch.float64)
        least = self._z.new_full((1, 1), math.inf)
        for _, distances in self._distances():
            wide = torch.stack([distances.sum(dtype=torch.float64), distances.double().square().sum()])
            sums += torch.cat([sums.new_tensor([distances.numel()]), wide])
            least = torch.minimum(least, distances.min())
        count, total, squares = sum_over_ranks(sums)
        variance = (squares - total.square() / count) / (count - 1)
        return join_ranks(least).min(), (variance.clamp(min=0).sqrt() + 1e-6).float()
