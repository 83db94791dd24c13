"""k-means of latents, to start a codebook where the data is."""

from __future__ import annotations

import torch
from torch import Tensor

from anycodec.torch.quantizers.search import nearest


@torch.no_grad()
def kmeans(samples: Tensor, k: int, iterations: int) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from randomly drawn samples; empty clusters restart at random samples.

    With fewer samples than codes, the spare codes are samples with a little noise: the restart of
    dead codes moves them later.

    Args:
        samples: [N D].
        k: number of codes.
        iterations: Lloyd iterations.

    Returns:
        codes [k D] and the share of samples of each, [k].
    """
    samples = samples.float()
    codes = _draw(samples, k)
    counts = torch.ones(k, device=samples.device)
    for _ in range(iterations):
        index = nearest(samples, codes)
        counts = torch.bincount(index, minlength=k).float()
        sums = torch.zeros_like(codes).index_add_(0, index, samples)
        codes = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], _draw(samples, k))
    return codes, counts / counts.sum()


def _draw(samples: Tensor, k: int) -> Tensor:
    """k samples without replacement as far as they go, then again with noise of 1 % of their spread."""
    order = torch.randperm(len(samples), device=samples.device)
    if len(samples) >= k:
        return samples[order[:k]].clone()
    chosen = samples[order.repeat(-(-k // len(samples)))[:k]].clone()
    noise = 0.01 * samples.std(unbiased=False) * torch.randn_like(chosen)
    noise[: len(samples)] = 0
    return chosen + noise
