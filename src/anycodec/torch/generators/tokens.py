"""A masked-token transformer (MaskGIT, Chang et al. 2022, arXiv 2202.04200) over levels of tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.generator import TokensSpec
from anycodec.errors import UserError
from anycodec.torch.generators.base import TokenGenerator
from anycodec.torch.layers.positions import rotations
from anycodec.torch.layers.transformer import GeluMlp, SelfAttention
from anycodec.torch.quantizers import TokenGrids
from anycodec.torch.samplers.unmask import unmask

MOST_CODES = 2**16
"""Of a level: the network has a vector for each, and predicts a probability for each."""

_MLP_RATIO = 4


class Tokens(TokenGenerator):
    """One transformer for all levels. A token's input is the sum of vectors for

    its code or the mask, the codes of all coarser levels where it stands, its position and the class,
    normalised as in BERT (arXiv 1810.04805); attention has rotary positions too (arXiv 2104.09864).

    Raises:
        UserError: tokens that the spec does not fit, or too many codes.
    """

    def __init__(
        self,
        spec: TokensSpec,
        grids: tuple[tuple[int, ...], ...],
        codebook_sizes: tuple[int, ...],
        n_classes: int,
    ) -> None:
        super().__init__()
        _check(spec, grids, codebook_sizes)
        self.grids, self.codebook_sizes, self.n_classes = grids, codebook_sizes, n_classes
        self.confidence_noise = spec.confidence_noise
        self.order = sorted(range(len(grids)), key=lambda level: math.prod(grids[level]))
        self.codes = nn.ModuleList(nn.Embedding(size + 1, spec.width) for size in codebook_sizes)
        self.positions = nn.ModuleList(nn.Embedding(math.prod(grid), spec.width) for grid in grids)
        self.label = nn.Embedding(n_classes + 1, spec.width)
        self.norm_in = nn.LayerNorm(spec.width)
        self.blocks = nn.ModuleList(_Block(spec) for _ in range(spec.depth))
        self.norm_out = nn.LayerNorm(spec.width)
        self.heads = nn.ModuleList(nn.Linear(spec.width, size) for size in codebook_sizes)
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for level, grid in enumerate(grids):
            rotation = rotations(grid, spec.width // spec.heads)
            self.register_buffer(f"rotation{level}", rotation, persistent=False)

    def forward(self, tokens: Tensor, coarser: dict[int, Tensor], level: int, labels: Tensor) -> Tensor:
        """What is known about each position, which `logits` turns into codes.

        Args:
            tokens: [B N] of a level, its codebook's size where masked.
            coarser: [B N'] of the coarser levels.
            level: which.
            labels: [B].

        Returns:
            [B N D].
        """
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.codes[level](tokens) + self.positions[level](positions) + self.label(labels)[:, None]
        for other, known in coarser.items():
            x = x + self._resampled(self.codes[other](known), other, level)
        x, rotation = self.norm_in(x), self.get_buffer(f"rotation{level}")
        for block in self.blocks:
            x = block(x, rotation)
        normalised: Tensor = self.norm_out(x)
        return normalised

    def logits(self, x: Tensor, level: int) -> Tensor:
        """[... D] -> [... K]."""
        logits: Tensor = self.heads[level](x)
        return logits.float()

    def loss(
        self, tokens: TokenGrids, labels: Tensor, random: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Mean cross entropy of the masked tokens; each sample of the batch trains one level, in turn."""
        levels, batch, device = len(self.order), len(labels), labels.device
        first = int(torch.randint(levels, (), generator=random, device=device))
        turns = (torch.arange(batch, device=device) + first) % levels
        total, count = torch.zeros((), device=device), 0
        for turn, level in enumerate(self.order):
            rows = turns == turn
            if not rows.any():
                continue
            known = {lower: tokens[lower][rows].flatten(1) for lower in self.order[:turn]}
            target = tokens[level][rows].flatten(1)
            mask = cosine_mask(target.shape, device, random)
            x = self(target.masked_fill(mask, self.codebook_sizes[level]), known, level, labels[rows])
            predicted = self.logits(x[mask], level)
            total = total + F.cross_entropy(predicted, target[mask], reduction="sum")
            count += len(predicted)
        return {"cross_entropy": total / count}

    @torch.no_grad()
    def sample(
        self,
        labels: Tensor,
        steps: int,
        guidance: float,
        temperature: float,
        sources: Sequence[torch.Generator],
    ) -> TokenGrids:
        """See `TokenGenerator.sample`; every level takes at least a step."""
        grids: dict[int, Tensor] = {}
        for level, share in zip(self.order, _shares(steps, len(self.order)), strict=True):
            codes, length = self.codebook_sizes[level], math.prod(self.grids[level])

            def predict(tokens: Tensor, level: int = level) -> Tensor:
                return self._guided(tokens, grids, level, labels, guidance)

            masked = torch.full((len(labels), length), codes, device=labels.device)
            grids[level] = unmask(
                predict, masked, sources, steps=share, temperature=temperature, noise=self.confidence_noise
            )
        return tuple(grids[level].view(len(labels), *grid) for level, grid in enumerate(self.grids))

    def _guided(
        self, tokens: Tensor, coarser: dict[int, Tensor], level: int, labels: Tensor, scale: float
    ) -> Tensor:
        """Logits u + scale (c - u) of those with labels, c, and without, u (arXiv 2207.12598)."""
        unconditional = torch.full_like(labels, self.n_classes)
        if scale == 1 or torch.equal(labels, unconditional):
            return self.logits(self(tokens, coarser, level, labels), level)
        twice = {lower: torch.cat((grid, grid)) for lower, grid in coarser.items()}
        both = self(torch.cat((tokens, tokens)), twice, level, torch.cat((labels, unconditional)))
        c, u = self.logits(both, level).chunk(2)
        return u + scale * (c - u)

    def _resampled(self, x: Tensor, source: int, target: int) -> Tensor:
        """Vectors [B N' D] of a level at the positions of another, each that of the nearest: [B N D]."""
        if self.grids[source] == self.grids[target]:
            return x
        grid = x.transpose(1, 2).reshape(len(x), -1, *self.grids[source])
        return F.interpolate(grid, size=self.grids[target]).flatten(2).transpose(1, 2)


class _Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), both with dropout."""

    def __init__(self, spec: TokensSpec) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(spec.width)
        self.attention = SelfAttention(spec.width, spec.heads)
        self.norm2 = nn.LayerNorm(spec.width)
        self.mlp = GeluMlp(spec.width, _MLP_RATIO * spec.width)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), rotation))
        out: Tensor = x + self.dropout(self.mlp(self.norm2(x)))
        return out


def cosine_mask(shape: torch.Size, device: torch.device, random: torch.Generator | None) -> Tensor:
    """Random masks [B N] of ceil(N cos(pi r / 2)) positions, r uniform in [0, 1), a sample."""
    batch, length = shape
    ratio = torch.cos(torch.rand(batch, 1, generator=random, device=device) * math.pi / 2)
    rank = torch.rand(batch, length, generator=random, device=device).argsort(1).argsort(1)
    return rank < (ratio * length).ceil().clamp(min=1)


def _shares(steps: int, levels: int) -> list[int]:
    """Steps of each level from the coarsest on, which get what is left over."""
    return [max(1, steps // levels + (turn < steps % levels)) for turn in range(levels)]


def _check(spec: TokensSpec, grids: Sequence[tuple[int, ...]], codebook_sizes: Sequence[int]) -> None:
    misfit = next(filter(None, map(spec.misfit, grids)), None)
    if misfit:
        raise UserError(misfit.what, where=f"generator.{misfit.setting}", how=misfit.how)
    if max(codebook_sizes) > MOST_CODES:
        raise UserError(
            f"a codebook of {max(codebook_sizes)} codes is too large to predict tokens of, "
            f"which takes at most {MOST_CODES}",
            where="latents",
            how="train a codec with a smaller codebook, or with the codes in several levels "
            "(`type: residual` or `type: grouped`)",
        )
