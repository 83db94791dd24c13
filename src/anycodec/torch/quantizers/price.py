"""What codes cost, from how often they were used."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anycodec.torch.quantizers.ranks import sum_over_ranks

DECAY = 0.99
"""Of the averages, a batch."""
LEAST_SHARE = 2.0**-6
"""Of 1 / K: codes that were never used cost 6 bits more than they would if all were used alike."""

PRICES = ("price.shares", "price.energy")
"""Ends of the names of its state, which a training that starts from a run without prices learns anew."""


class CodePrice(nn.Module):
    """Prices of the codes of each stage, in squared distance: weight E|z|^2 (-log2 p).

    With them, latents take codes by entropy-constrained vector quantisation (Chou, Lookabaugh & Gray
    1989): frequent codes, which an entropy coder stores in few bits, become more frequent. In units of
    the mean squared latent, prices hold whatever the scale that training gives to latents.

    Args:
        weight: of a bit.
        sizes: codes K of each stage.
    """

    shares: Tensor
    energy: Tensor

    def __init__(self, weight: float, sizes: Sequence[int]) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("shares", torch.full((len(sizes), sizes[0]), 1 / sizes[0]))
        self.register_buffer("energy", torch.zeros(()))

    def of_codes(self) -> Tensor:
        """[stages K]."""
        least = LEAST_SHARE / self.shares.shape[1]
        return -self.weight * self.energy * self.shares.clamp(min=least).log2()

    @torch.no_grad()
    def learn(self, latents: Tensor, tokens: Sequence[Tensor]) -> None:
        """Note a training batch: latents [B D *g] and the codes [B *g] of each stage."""
        count = sum_over_ranks(torch.tensor(float(tokens[0].numel()), device=latents.device))
        length = sum_over_ranks(latents.float().square().sum()) / count
        used = [torch.bincount(grid.flatten(), minlength=self.shares.shape[1]) for grid in tokens]
        shares = sum_over_ranks(torch.stack(used).float()) / count
        self.shares.lerp_(shares, 1 - DECAY)
        self.energy.copy_(torch.where(self.energy == 0, length, self.energy.lerp(length, 1 - DECAY)))
