"""Classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598)."""

from __future__ import annotations

import torch
from torch import Tensor

from anycodec.torch.generators.base import Generator
from anycodec.torch.processes.base import Predictor


def guided(
    generator: Generator,
    labels: Tensor,
    scale: float,
    interval: tuple[float, float] = (0.0, 1.0),
    channels: int | None = None,
) -> Predictor:
    """Predictions u + scale (c - u) of those with labels, c, and without, u, from one forward pass of both.

    Args:
        generator: the network.
        labels: [B] int64 of the samples that are drawn.
        scale: 1 = c alone, which takes half of the time.
        interval: times from which and up to which the scale counts (arXiv 2404.07724); c alone outside.
        channels: of the latents, how many of the first the scale counts for; None = all. LightningDiT
            guides 3 (of 32).
    """
    unconditional = torch.full_like(labels, generator.n_classes)
    pointless = scale == 1 or torch.equal(labels, unconditional)
    both = torch.cat((labels, unconditional))

    def predict(x: Tensor, t: Tensor) -> Tensor:
        if pointless or not interval[0] <= float(t[0]) <= interval[1]:
            alone: Tensor = generator(x, t, labels)
            return alone
        c, u = generator(torch.cat((x, x)), torch.cat((t, t)), both).chunk(2)
        guided_channels = (u + scale * (c - u))[:, :channels]
        return torch.cat((guided_channels, c[:, guided_channels.shape[1] :]), dim=1)

    return predict
