"""Differential coding of latents over time, around any quantizer (DPCM, Cutler 1952, US patent 2605361).

    d_t = z_t - y_(t-1)        y_t = y_(t-1) + Q(d_t)        y_(-1) = 0

Tokens are those of Q(d_t), and y_t takes the place of z_t. The encoder subtracts what the decoder has, not
what it was given, so that errors do not add up: what stands still is refined by every frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from anycodec.torch.layers.causal3d import Past
from anycodec.torch.quantizers.base import Quantized, Quantizer


def quantized_differences(quantizer: Quantizer, z: Tensor, past: Past) -> Quantized:
    """Latents [B D T H W] -> y, with straight gradients; losses and figures are means over T.

    Args:
        quantizer: Q.
        z: latents.
        past: holds y of the frame before under `quantizer`, and then that of the last frame.
    """
    before = past.get(quantizer, torch.zeros_like(z[:, :, :1], dtype=torch.float32))
    frames: list[Quantized] = []
    for frame in torch.split(z.float(), 1, dim=2):
        change: Quantized = quantizer(frame - before)
        values = before + change.values
        frames.append(Quantized(values, change.tokens, change.losses, change.stats))
        before = values.detach()
    past[quantizer] = before
    return Quantized(
        torch.cat([one.values for one in frames], dim=2),
        tuple(torch.cat(level, dim=1) for level in zip(*(one.tokens for one in frames), strict=True)),
        _means([one.losses for one in frames]),
        _means([one.stats for one in frames]),
    )


def summed_over_time(quantizer: Quantizer, changes: Tensor, past: Past) -> Tensor:
    """Values Q(d_t) [B D T H W] of tokens -> y; `past` as in `quantized_differences`."""
    before = past.get(quantizer, torch.zeros_like(changes[:, :, :1]))
    values = before + changes.cumsum(dim=2)
    past[quantizer] = values[:, :, -1:].clone()
    return values


def _means(tables: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([table[name] for table in tables]).mean() for name in tables[0]}
