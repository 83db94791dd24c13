"""k-means of latents, to start a codebook where the data is."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from anycodec.errors import Notice
from anycodec.torch.quantizers.search import nearest

_SAMPLES_A_CODE = 256
"""More samples move the codes no further (the figure faiss uses)."""


@torch.no_grad()
def kmeans(
    samples: Tensor, k: int, iterations: int, onto: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from randomly drawn samples; empty clusters restart at random samples.

    With fewer samples than codes, which is said in a warning, the spare codes are samples with a
    little noise: the restart of dead codes moves them later.

    Args:
        samples: [N D].
        k: number of codes.
        iterations: Lloyd iterations.
        onto: puts means [k D] back where codes may be, as onto the sphere in spherical k-means.

    Returns:
        codes [k D] and the share of samples of each, [k].
    """
    if len(samples) < k:
        warnings.warn(
            f"{k} codes start from {len(samples)} latents: take a larger batch or a smaller codebook_size",
            Notice,
            stacklevel=2,
        )
    samples = _draw(samples.float(), min(len(samples), _SAMPLES_A_CODE * k))
    codes = _draw(samples, k)
    counts = torch.ones(k, device=samples.device)
    for _ in range(iterations):
        index = nearest(samples, codes)
        counts = torch.bincount(index, minlength=k).float()
        codes = torch.zeros_like(codes).index_add_(0, index, samples) / counts.clamp(min=1)[:, None]
        empty = (counts == 0).nonzero().flatten()
        codes[empty] = _draw(samples, len(empty))
        codes = codes if onto is None else onto(codes)
    counts = counts.clamp(min=1)  # an empty cluster holds the sample it restarted at
    return codes, counts / counts.sum()


def _draw(samples: Tensor, k: int) -> Tensor:
    """k samples without replacement as far as they go, then again with noise of 1 % of their spread."""
    order = torch.randperm(len(samples), device=samples.device)
    if len(samples) >= k:
        return samples[order[:k]]
    chosen = samples[order.repeat(-(-k // len(samples)))[:k]]
    noise = 0.01 * samples.std(unbiased=False) * torch.randn_like(chosen)
    noise[: len(samples)] = 0
    return chosen + noise
