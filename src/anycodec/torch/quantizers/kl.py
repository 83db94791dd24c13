"""The bottleneck of a variational autoencoder (Kingma & Welling 2013, arXiv 1312.6114)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anycodec.config.quantizer import KlSpec
from anycodec.torch.layers.gaussian import DiagonalGaussian
from anycodec.torch.quantizers.base import Quantized
from anycodec.torch.quantizers.continuous import ContinuousQuantizer

_STARTING_LOGVAR = -6.0
"""A standard deviation of 0.05: the noise does not hide the latents of an untrained encoder."""


class Kl(ContinuousQuantizer):
    """z -> N(mean, var), each a learned linear map of z; a sample in training, the mean in evaluation.

    loss = weight KL(N(mean, var) | N(0, 1)), mean over elements. Starts with the first channels of z as
    the mean.

    Args:
        spec: settings.
        dim: D of z.
        latent_dim: channels of the latent; None = D.
    """

    def __init__(self, spec: KlSpec, dim: int, latent_dim: int | None = None) -> None:
        super().__init__()
        self.weight = spec.weight
        width = latent_dim or dim
        self.moments = nn.Linear(dim, 2 * width)
        with torch.no_grad():
            self.moments.weight.copy_(torch.eye(2 * width, dim))
            self.moments.bias[:width] = 0
            self.moments.bias[width:] = _STARTING_LOGVAR

    def forward(self, z: Tensor) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            moments = self.moments(z.movedim(1, -1).float()).movedim(-1, 1)
            posterior = DiagonalGaussian(moments)
            kl = posterior.kl().mean()
            values = posterior.sample() if self.training else posterior.mean
        stats = {"kl": kl.detach(), "latent_std": values.detach().std(unbiased=False)}
        return Quantized(values, (), {"kl": self.weight * kl}, stats)
