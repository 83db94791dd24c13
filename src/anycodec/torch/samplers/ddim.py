"""Denoising diffusion implicit models (Song et al. 2021, arXiv 2010.02502)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from anycodec.torch.samplers.noise import NoisePredictor, draw, streams


def ddim(predict: NoisePredictor, noise: Tensor, ks: Sequence[int], powers: Tensor, eta: float) -> Tensor:
    """x_j = sqrt(p_j) x + sqrt(1 - p_j - s^2) noise^ + s n for each step from k to j (eq. 12), with

    s^2 = eta^2 (1 - p_j) / (1 - p_k) (1 - p_k / p_j) (eq. 16); eta = 1 is DDPM's ancestral sampling.

    Args:
        predict: the noise in x_k.
        noise: [B D *g], where sampling starts.
        ks: descending steps of the chain.
        powers: [K], p_k of the chain.
        eta: 0 to 1, the share of ancestral noise.

    Returns:
        [B D *g].
    """
    x = noise
    sources = streams(noise) if eta else []
    powers_visited = [*(float(powers[k]) for k in ks), 1.0]
    for k, p, q in zip(ks, powers_visited, powers_visited[1:], strict=False):
        predicted = predict(x, k)
        data = (x - math.sqrt(1 - p) * predicted) / math.sqrt(p)
        variance = eta**2 * (1 - q) / (1 - p) * (1 - p / q)
        x = math.sqrt(q) * data + math.sqrt(max(1 - q - variance, 0)) * predicted
        if variance:
            x = x + math.sqrt(variance) * draw(sources, x)
    return x
