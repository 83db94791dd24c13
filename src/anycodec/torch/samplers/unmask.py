"""Parallel decoding of masked tokens (MaskGIT, Chang et al. 2022, arXiv 2202.04200, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CodePredictor = Callable[[Tensor], Tensor]
"""Tokens [B N], K where masked -> logits of the K codes at each position [B N K]."""


def unmask(
    predict: CodePredictor,
    masked: Tensor,
    sources: Sequence[torch.Generator],
    *,
    steps: int,
    temperature: float,
    noise: float,
) -> Tensor:
    """Draw a token for every masked position, keep the most confident ones, and again.

    After step s of S, N cos(pi s / 2 S) positions are masked, and at least one less than before.
    A token's confidence is its log probability plus `noise` (1 - s / S) times a Gumbel number.

    Args:
        predict: what the network says about all positions.
        masked: [B N] of K, the number of codes.
        sources: of random numbers, one a sample.
        steps: calls of `predict` at most.
        temperature: of the choice among codes, 1 = as predicted.
        noise: of the choice among positions.

    Returns:
        [B N] int64.
    """
    tokens, mask = masked, torch.ones_like(masked, dtype=torch.bool)
    length = left = masked.shape[1]
    for step in range(1, steps + 1):
        progress = step / steps
        probabilities = (predict(tokens).float() / temperature).softmax(-1)
        drawn = _choose(probabilities, _uniform(sources, tokens))
        likelihood = probabilities.gather(-1, drawn[..., None])[..., 0]
        gumbel = -torch.log(-torch.log(_uniform(sources, tokens)))
        confidence = likelihood.double().log() + noise * (1 - progress) * gumbel
        left = min(left - 1, math.floor(length * math.cos(math.pi / 2 * progress)))
        still = _lowest(confidence.masked_fill(~mask, math.inf), left)
        tokens = torch.where(mask & ~still, drawn, tokens)
        mask = still
        if left == 0:
            break
    return tokens


def _choose(probabilities: Tensor, u: Tensor) -> Tensor:
    """The code in whose part of the cumulative distribution u falls: [B N K], [B N] -> [B N]."""
    cumulative = probabilities.double().cumsum(-1)
    chosen = torch.searchsorted(cumulative, u[..., None] * cumulative[..., -1:], right=True)[..., 0]
    return chosen.clamp(max=probabilities.shape[-1] - 1)


def _lowest(confidence: Tensor, count: int) -> Tensor:
    """Where the `count` lowest of each row stand [B N]."""
    chosen = confidence.argsort(1)[:, :count]
    return torch.zeros_like(confidence, dtype=torch.bool).scatter_(1, chosen, value=True)


def _uniform(sources: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """[B N] float64 in (0, 1), each sample's from its own source."""
    length, double = like.shape[1], torch.float64
    drawn = torch.stack([torch.rand(length, generator=source, dtype=double) for source in sources])
    return drawn.clamp(min=torch.finfo(double).tiny).to(like.device)
