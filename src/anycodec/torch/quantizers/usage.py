"""Figures about the codes of a batch, a level and over levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Stats = Mapping[str, Tensor]


def shannon_entropy(p: Tensor) -> Tensor:
    """-sum p ln p of probabilities [K] in nats; its gradient is finite where p is 0."""
    return -(p * p.clamp(min=torch.finfo(p.dtype).tiny).log()).sum()


def code_use(counts: Tensor) -> dict[str, Tensor]:
    """`perplexity`, exp of the entropy, and `codes_used`, a share, from the uses of each code [K]."""
    p = counts / counts.sum()
    return {
        "perplexity": shannon_entropy(p).exp(),
        "codes_used": (counts > 0).to(p).mean(),
    }


def level_stats(levels: Sequence[Stats]) -> dict[str, Tensor]:
    """One table from that of each level: `perplexity_0`, ..., and their mean as `perplexity`."""
    if len(levels) == 1:
        return dict(levels[0])
    together = {f"{name}_{i}": value for i, stats in enumerate(levels) for name, value in stats.items()}
    means = {name: torch.stack([stats[name] for stats in levels]).mean() for name in levels[0]}
    return means | together


def split_levels(stats: Stats, levels: int) -> list[dict[str, Tensor]]:
    """Inverse of `level_stats`; what is not told by level holds for each."""
    names = [name for name in stats if not name.rpartition("_")[2].isdigit()]
    return [{name: stats.get(f"{name}_{i}", stats[name]) for name in names} for i in range(levels)]
