"""Parts of transformers over tokens [B N D]."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.torch.layers.positions import rotate

_SHORT = 256
"""Most tokens for which plain products train faster in bf16 on CPU than torch's fused attention.

3.8x with 64 and 128 tokens, 1.8x with 256, no faster with 1024 (torch 2.13, heads of 64). In float32 the
fused attention is the faster one at all of these.
"""


class SelfAttention(nn.Module):
    """proj(softmax(q k^T / sqrt d) v) in heads of width d.

    Args:
        width: D.
        heads: heads, which divide it.
        qk_norm: normalise the queries and keys of each head, None = not.
    """

    def __init__(self, width: int, heads: int, qk_norm: Literal["rms", "layer"] | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = _head_norm(width // heads, qk_norm)
        self.k_norm = _head_norm(width // heads, qk_norm)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rotation: Tensor | None = None) -> Tensor:
        """Tokens x [B N D]; `rotation` of `anycodec.torch.layers.positions.rotations`, None = none."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        qk, v = qkv[:, :, :2], qkv[:, :, 2]
        if self.q_norm is not None and self.k_norm is not None:
            q, k = qk.float().unbind(2)
            qk = torch.stack((self.q_norm(q), self.k_norm(k)), dim=2)
        if rotation is not None:
            qk = rotate(qk, rotation)
        q, k = qk.type_as(v).unbind(2)
        attended = attend(*(part.transpose(1, 2) for part in (q, k, v)))
        out: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return out


class GeluMlp(nn.Module):
    """fc2(gelu(fc1(x))), gelu by tanh."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out


class SwiGlu(nn.Module):
    """w3(silu(a) b), (a, b) = w12(x) (arXiv 2002.05202)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.w12(x).chunk(2, dim=-1)
        out: Tensor = self.w3(F.silu(a) * b)
        return out


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt d) v of [B heads N d]."""
    trains = torch.is_grad_enabled() and q.requires_grad
    if trains and q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[2] <= _SHORT:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        attended: Tensor = scores.softmax(-1).type_as(v) @ v
        return attended
    return F.scaled_dot_product_attention(q, k, v)


def _head_norm(width: int, kind: Literal["rms", "layer"] | None) -> nn.Module | None:
    if kind is None:
        return None
    return nn.RMSNorm(width, eps=1e-6) if kind == "rms" else nn.LayerNorm(width)
