"""Self-attention over the positions of a feature map."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.torch.layers.norm import group_norm


class Attention2d(nn.Module):
    """x + proj(softmax(q k^T / sqrt C) v) with one head and 1x1 projections of the normalised map."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (part(h).flatten(2).transpose(1, 2)[:, None] for part in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(q, k, v)[:, 0]
        out: Tensor = x + self.proj_out(attended.reshape(len(x), *x.shape[2:], -1).movedim(-1, 1))
        return out
