"""Embedding of a process's time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_FEATURES = 256
_LONGEST = 1e4


class TimeEmbedding(nn.Module):
    """MLP of cos and sin of t at frequencies 1 to 1e-4 (arXiv 2112.10741), [B] -> [B width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = torch.arange(_FEATURES // 2, dtype=torch.float32) / (_FEATURES // 2)
        self.register_buffer("frequencies", torch.exp(-math.log(_LONGEST) * half), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(_FEATURES, width), nn.SiLU(), nn.Linear(width, width))

    frequencies: Tensor

    def forward(self, t: Tensor) -> Tensor:
        angles = t.float()[:, None] * self.frequencies
        embedding: Tensor = self.mlp(torch.cat((angles.cos(), angles.sin()), dim=1))
        return embedding
