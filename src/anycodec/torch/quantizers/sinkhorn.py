"""Balanced assignment of a batch to codes by optimal transport (Sinkhorn; Cuturi 2013, arXiv 1306.0895)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from anycodec.torch.quantizers.ranks import join_ranks, sum_over_ranks
from anycodec.torch.quantizers.tiles import TILE, row_tiles

CostUnit = Literal["all", "dim", "none"]

_TINY = 1e-8
"""Added to every sum before division, as published: a code whose share is below it is not pulled in."""


class Transport:
    """Q = diag(v) exp(-epsilon C) diag(u): a plan between N latents and K codes of equal shares each.

    C is the Euclidean distance d in a unit: `all` (d - min d) / std d over the whole table, `dim`
    d / sqrt(width), `none` d. From Q / sum Q on, codes and latents are scaled to sums of 1/K and 1/N in
    turns (OptVQ, arXiv 2412.15195, section 3.2), here on log u [K] and log v [N]. Where C exceeds a tile
    its tiles are computed again each time: N x K is never held. The batches of all processes count as one.

    Args:
        z: this process's latents [N D].
        codes: [K D].
        epsilon: sharpness of the plan.
        iterations: scalings of codes and latents.
        unit: of the cost.
    """

    def __init__(self, z: Tensor, codes: Tensor, epsilon: float, iterations: int, unit: CostUnit) -> None:
        self._z, self._codes = z, codes
        self._whole = torch.cdist(z, codes) if len(z) * len(codes) <= TILE else None
        least, scale = self._unit(unit)
        self._sharpness = epsilon / scale
        self._log_u = self._balance(iterations, least * self._sharpness)

    def plan(self) -> Tensor:
        """The whole plan as shares of each latent, [N K], for small tables."""
        return torch.cat([torch.softmax(shares, dim=1) for _, shares in self._log_shares(self._log_u)])

    def best(self) -> Tensor:
        """The code with the largest share of each latent, [N] int64."""
        return torch.cat([shares.argmax(dim=1) for _, shares in self._log_shares(self._log_u)])

    def _balance(self, iterations: int, shift: float | Tensor) -> Tensor:
        """log u after so many scalings, from exp(shift) on."""
        size = len(self._codes)
        latents = sum_over_ranks(torch.tensor(float(len(self._z)), device=self._z.device))
        log_u = self._codes.new_zeros(size) + shift
        log_v = self._z.new_zeros(len(self._z))
        mass = self._code_sums(log_u)
        total = mass.sum() + _TINY
        log_u = log_u - torch.log(total) - torch.log((mass / total + _TINY) * size)
        for _ in range(iterations - 1):
            mass = self._scale_latents(log_u, log_v, latents)
            log_u = log_u - torch.log((mass + _TINY) * size)
        return log_u

    def _code_sums(self, log_u: Tensor) -> Tensor:
        """Sums of each code over all latents before their first scaling, [K]."""
        mass = torch.zeros_like(log_u)
        for _, shares in self._log_shares(log_u):
            mass += shares.exp_().sum(dim=0)
        return sum_over_ranks(mass)

    def _scale_latents(self, log_u: Tensor, log_v: Tensor, latents: Tensor) -> Tensor:
        """Scale latents, in place of `log_v`, to sums of 1/N; then the sums of each code, [K]."""
        mass = torch.zeros_like(log_u)
        for tile, shares in self._log_shares(log_u):
            largest = shares.amax(dim=1, keepdim=True)
            shares.sub_(largest).exp_()
            rest = shares.sum(dim=1)
            sums = torch.exp(log_v[tile] + largest[:, 0] + torch.log(rest))
            log_v[tile] -= torch.log((sums + _TINY) * latents)
            mass += shares.T @ (sums / ((sums + _TINY) * latents * rest))
        return sum_over_ranks(mass)

    def _log_shares(self, log_u: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Tiles of latents with log u - epsilon C, [n K], to be overwritten at will."""
        for tile, distances in self._distances():
            yield tile, log_u - self._sharpness * distances

    def _distances(self) -> Iterator[tuple[slice, Tensor]]:
        if self._whole is not None:
            yield slice(0, len(self._z)), self._whole
            return
        for tile in row_tiles(len(self._z), len(self._codes)):
            yield tile, torch.cdist(self._z[tile], self._codes)

    def _unit(self, unit: CostUnit) -> tuple[float | Tensor, float | Tensor]:
        """The distance that costs nothing, and what distances are divided by."""
        if unit == "none":
            return 0.0, 1.0
        if unit == "dim":
            return 0.0, math.sqrt(self._z.shape[1])
        sums = self._z.new_zeros(3, dtype=torch.float64)
        least = self._z.new_full((1, 1), math.inf)
        for _, distances in self._distances():
            rows = torch.stack([distances.sum(dim=1), distances.square().sum(dim=1)])
            sums += torch.cat([sums.new_tensor([distances.numel()]), rows.double().sum(dim=1)])
            least = torch.minimum(least, distances.min())
        count, total, squares = sum_over_ranks(sums)
        variance = (squares - total.square() / count) / (count - 1)
        return join_ranks(least).min(), (variance.clamp(min=0).sqrt() + 1e-6).float()
