"""LightningDiT: a transformer over patches of latents with adaLN-Zero conditioning.

Yao, Yang & Wang 2025, "Reconstruction vs. generation" (arXiv 2501.01423), after Peebles & Xie 2023
(arXiv 2212.09748).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anycodec.config.generator import DitSpec
from anycodec.errors import UserError
from anycodec.torch.generators.base import Generator
from anycodec.torch.layers.adaptive_norm import AdaptiveNorm
from anycodec.torch.layers.patches import join_patches, split_patches
from anycodec.torch.layers.positions import rotations, sincos_positions
from anycodec.torch.layers.times import TimeEmbedding
from anycodec.torch.layers.transformer import GeluMlp, SelfAttention, SwiGlu


class Dit(Generator):
    """A token a patch; time and label scale, shift and gate every block.

    The maps from the condition to all blocks' scales, shifts and gates are one matrix, `modulation`.
    It and the last layer start at zero: every block as the identity, the output at 0.

    Raises:
        UserError: latents that the spec does not fit.
    """

    rotation: Tensor | None

    def __init__(self, spec: DitSpec, shape: tuple[int, ...], n_classes: int) -> None:
        super().__init__()
        misfit = spec.misfit(shape)
        if misfit:
            raise UserError(misfit.what, where=f"generator.{misfit.setting}", how=misfit.how)
        self.shape, self.n_classes = shape, n_classes
        self.patch_size = spec.patch_size
        self.grid = tuple(extent // spec.patch_size for extent in shape[1:])
        self.gradient_checkpointing = spec.gradient_checkpointing
        width, depth, heads = spec.dimensions
        values = shape[0] * spec.patch_size ** len(self.grid)
        self.embed = nn.Linear(values, width)
        self.register_buffer("positions", sincos_positions(self.grid, width), persistent=False)
        rotation = rotations(self.grid, width // heads) if spec.rope else None
        self.register_buffer("rotation", rotation, persistent=False)
        self.time = TimeEmbedding(width)
        self.label = nn.Embedding(n_classes + 1, width)
        self.blocks = nn.ModuleList(DitBlock(spec) for _ in range(depth))
        self.modulation = nn.Linear(width, (depth * chunks(spec) + 2) * width)
        self.norm_out = AdaptiveNorm(width, spec.norm)
        self.out = nn.Linear(width, values)
        self._initialise()

    positions: Tensor

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"latents of {tuple(x.shape[1:])} for a generator of {self.shape}")
        h = self.embed(split_patches(x, self.patch_size)) + self.positions
        condition = self.modulation(nn.functional.silu(self.time(t) + self.label(labels)))
        blocks, (shift, scale) = self._modulations(condition)
        for block, modulation in zip(self.blocks, blocks, strict=True):
            if self.gradient_checkpointing and torch.is_grad_enabled():
                h = checkpoint(block, h, modulation, self.rotation, use_reentrant=False)
            else:
                h = block(h, modulation, self.rotation)
        return join_patches(self.out(self.norm_out(h, scale, shift)), self.patch_size, self.grid)

    def _modulations(self, condition: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Chunks [B k D] of every block, and shift and scale [B D] of the last layer."""
        width = self.modulation.in_features
        parts = condition.view(len(condition), -1, width)
        blocks, last = parts[:, :-2], parts[:, -2:]
        return blocks.chunk(len(self.blocks), dim=1), last.unbind(1)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for weight in (*self.time.mlp.parameters(), self.label.weight):
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.02)
        for layer in (self.modulation, self.out):
            nn.init.zeros_(layer.weight)


class DitBlock(nn.Module):
    """Attention and MLP, each x + gate f(norm(x) (1 + scale) + shift)."""

    def __init__(self, spec: DitSpec) -> None:
        super().__init__()
        width, _, heads = spec.dimensions
        hidden = int(width * spec.mlp_ratio)
        self.norm1 = AdaptiveNorm(width, spec.norm)
        self.attention = SelfAttention(width, heads, spec.norm if spec.qk_norm else None)
        self.norm2 = AdaptiveNorm(width, spec.norm)
        self.mlp = SwiGlu(width, math.floor(2 / 3 * hidden)) if spec.swiglu else GeluMlp(width, hidden)
        self.shift = spec.shift

    def forward(self, x: Tensor, modulation: Tensor, rotation: Tensor | None) -> Tensor:
        """Tokens x [B N D] with the chunks [B k D] (shift,) scale, gate, (shift,) scale, gate."""
        parts = modulation.unbind(1)
        if self.shift:
            shift1, scale1, gate1, shift2, scale2, gate2 = parts
        else:
            (scale1, gate1, scale2, gate2), (shift1, shift2) = parts, (None, None)
        x = torch.addcmul(x, gate1[:, None], self.attention(self.norm1(x, scale1, shift1), rotation))
        return torch.addcmul(x, gate2[:, None], self.mlp(self.norm2(x, scale2, shift2)))


def chunks(spec: DitSpec) -> int:
    """Vectors by which the condition steers a block."""
    return 6 if spec.shift else 4
