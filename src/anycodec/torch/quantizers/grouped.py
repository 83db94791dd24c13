"""Grouped (multi-head) quantisation: the channels in groups, each with its own quantizer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from anycodec.config.quantizer import GroupedSpec
from anycodec.errors import ConfigError, UserError
from anycodec.torch.quantizers import make_quantizer
from anycodec.torch.quantizers.base import Quantized, Quantizer, TokenGrids
from anycodec.torch.quantizers.usage import level_stats, split_levels


class Grouped(Quantizer):
    """Product quantisation (Jegou et al. 2011): [B D *g] as G times [B D/G *g], levels group by group.

    Losses are means over groups, so that a term that is a mean over elements stays one.

    Raises:
        ConfigError: the groups do not divide D.
    """

    def __init__(self, spec: GroupedSpec, dim: int) -> None:
        super().__init__()
        if dim % spec.groups:
            mistake = UserError(
                f"{spec.groups} groups do not divide the {dim} channels of the latent",
                where="codec.quantizer.groups",
                how="choose a divisor, or another width of the latent",
            )
            raise ConfigError([mistake])
        self.groups = nn.ModuleList(
            make_quantizer(spec.quantizer, dim // spec.groups) for _ in range(spec.groups)
        )

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return tuple(size for group in self._quantizers() for size in group.codebook_sizes)

    def forward(self, z: Tensor) -> Quantized:
        parts = z.chunk(len(self.groups), dim=1)
        outs: list[Quantized] = [group(part) for group, part in zip(self.groups, parts, strict=True)]
        stats = [level for out in outs for level in split_levels(out.stats, len(out.tokens))]
        return Quantized(
            torch.cat([out.values for out in outs], dim=1),
            tuple(grid for out in outs for grid in out.tokens),
            {name: torch.stack([out.losses[name] for out in outs]).mean() for name in outs[0].losses},
            level_stats(stats),
        )

    def lookup(self, tokens: TokenGrids) -> Tensor:
        each = len(tokens) // len(self.groups)
        parts = [
            group.lookup(tokens[i * each : (i + 1) * each]) for i, group in enumerate(self._quantizers())
        ]
        return torch.cat(parts, dim=1)

    @property
    def latents_wanted(self) -> int:
        return max(group.latents_wanted for group in self._quantizers())

    def start(self, latents: Tensor) -> None:
        for group, part in zip(self._quantizers(), latents.chunk(len(self.groups), dim=1), strict=True):
            if group.latents_wanted:
                group.start(part)

    def _quantizers(self) -> Iterator[Quantizer]:
        for group in self.groups:
            assert isinstance(group, Quantizer)
            yield group
