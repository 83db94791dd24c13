"""Activation normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anycodec.torch.quantizers.ranks import sum_over_ranks


class ActNorm(nn.Module):
    """scale (x + shift) a channel, learned from values that whiten the first batch (Kingma 2018, Glow).

    After that batch windows don't depend on each other.
    """

    initialised: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))
        self.scale = nn.Parameter(torch.ones(channels))
        self.register_buffer("initialised", torch.tensor(False))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.initialised:
            self._whiten(x.detach().float())
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return self.scale.view(shape) * (x + self.shift.view(shape))

    @torch.no_grad()
    def _whiten(self, x: Tensor) -> None:
        """Set shift and scale so that x [B C *s] of all ranks gets mean 0, variance 1 a channel."""
        axes = [0, *range(2, x.ndim)]
        count = x.new_tensor([x.numel() / x.shape[1]])
        sums = torch.cat([x.sum(axes), x.square().sum(axes), count])
        sum_over_ranks(sums)
        total, squares = sums[:-1].view(2, -1) / sums[-1]
        self.shift.copy_(-total)
        self.scale.copy_(1 / ((squares - total.square()).clamp_min(0).sqrt() + 1e-6))
        self.initialised.fill_(True)
