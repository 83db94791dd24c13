"""What samplers of a diffusion share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

NoisePredictor = Callable[[Tensor, int], Tensor]
"""(x_k [B D *g], k) -> the noise in it [B D *g]."""


def streams(noise: Tensor) -> list[torch.Generator]:
    """A source of random numbers a sample, seeded by its own noise [B D *g].

    So what a sample becomes depends on its noise alone, not on the samples beside it.
    """
    rows = noise.detach().float().cpu().flatten(1).numpy()
    return [torch.Generator().manual_seed(_seed(row.tobytes())) for row in rows]


def draw(sources: list[torch.Generator], like: Tensor) -> Tensor:
    """Standard normal numbers shaped like [B D *g], each sample's from its own source."""
    return torch.stack([torch.randn(like.shape[1:], generator=source) for source in sources]).to(like)


def _seed(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=7).digest(), "little")
