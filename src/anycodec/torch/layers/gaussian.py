"""The distribution of latents that a variational encoder gives."""

from __future__ import annotations

import torch
from torch import Tensor

_LOG_VARIANCE = (-30.0, 20.0)
"""Limits of the logarithm of the variance (those of latent diffusion, arXiv 2112.10752)."""


class DiagonalGaussian:
    """N(mean, exp(logvar)) with independent elements.

    Args:
        moments: [B 2D *g], means and then logarithms of variances along the channels.
    """

    def __init__(self, moments: Tensor) -> None:
        self.mean, logvar = moments.chunk(2, dim=1)
        self.logvar = logvar.clamp(*_LOG_VARIANCE)

    def sample(self) -> Tensor:
        """A draw, differentiable in the moments."""
        return self.mean + torch.exp(0.5 * self.logvar) * torch.randn_like(self.mean)

    def kl(self) -> Tensor:
        """KL(N(mean, var) | N(0, 1)) of each element in nats: (mean^2 + var - 1 - log var) / 2."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar)
