"""The network of a prior for one level, in the real numbers that its whole numbers stand for.

`anycodec.bitstream.prior_network` is the formula. Values are cut here where they are cut there, so that
what is left of quantisation is rounding.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from anycodec.config.prior import PriorSpec
from anycodec.engine import PriorLevel

_LARGEST_CODE = 127 / 32
_LARGEST_HIDDEN = 255 / 32
_MEMBER_WIDTH = 16
"""Numbers that tell the codes of a group apart."""


class LevelPrior(nn.Module):
    """Logarithms, to base 2, of how likely each code of a level is.

    Args:
        level: what the data says.
        spec: the sizes.
    """

    def __init__(self, level: PriorLevel, spec: PriorSpec) -> None:
        super().__init__()
        self.sources, self.dropout = level.sources, nn.Dropout(spec.dropout)
        self.codes = nn.ModuleDict(
            {str(source): nn.Embedding(size + 1, spec.embedding) for source, size in level.sizes.items()}
        )
        for table in self.codes.values():
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=0.5)
        self.members: _Members | None = None
        self.places = nn.ParameterList(torch.zeros(extent, spec.width) for extent in level.places)
        self.a = nn.Linear(len(level.sources) * spec.embedding, spec.width)
        self.b = nn.Linear(spec.width, spec.width)
        counts = torch.from_numpy(level.counts).float() + 0.5
        if level.groups is None:
            self.groups: Tensor | None = None
            totals = counts
        else:
            self.groups = torch.from_numpy(level.groups)
            totals = torch.zeros(int(level.groups.max()) + 1).index_add_(0, self.groups, counts)
            self.members = _Members(self.groups, counts, spec.width)
        self.c = _output(spec.width, totals)

    def forward(self, tokens: Tensor, places: Tensor) -> Tensor:
        """The last hidden values [n width] for neighbours [n J] and places [n axes]."""
        parts, first = [], 0
        for source, table in self.codes.items():
            count = self.sources.count(int(source))
            found = table(tokens[:, first : first + count]).clamp(-_LARGEST_CODE, _LARGEST_CODE)
            parts.append(found.flatten(1))
            first += count
        sums = self.a(self.dropout(torch.cat(parts, dim=1)))
        for axis, table in enumerate(self.places):
            sums = sums + table[places[:, axis] % len(table)]
        hidden = self.b(self.dropout(sums.clamp(0, _LARGEST_HIDDEN))).clamp(0, _LARGEST_HIDDEN)
        dropped: Tensor = self.dropout(hidden)
        return dropped

    def bits(self, tokens: Tensor, places: Tensor, codes: Tensor) -> Tensor:
        """Mean -log2 P of the codes [n]."""
        hidden = self(tokens, places)
        if self.groups is None or self.members is None:
            return _bits(self.c(hidden), codes)
        groups = self.groups[codes]
        return _bits(self.c(hidden), groups) + self.members.bits(hidden, groups, codes)


class _Members(nn.Module):
    """Which code of its group a token is."""

    def __init__(self, groups: Tensor, counts: Tensor, width: int) -> None:
        super().__init__()
        n_groups, size = int(groups.max()) + 1, len(groups)
        rows = [torch.nonzero(groups == group)[:, 0] for group in range(n_groups)]
        table = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=size)
        self.register_buffer("table", table, persistent=False)
        self.hidden = nn.Linear(width, _MEMBER_WIDTH, bias=False)
        self.groups = nn.Parameter(torch.ones(n_groups, _MEMBER_WIDTH))
        self.weight = nn.Parameter(torch.randn(size, _MEMBER_WIDTH) * 0.1)
        self.bias = nn.Parameter(counts.log2() - counts.log2().mean())

    def bits(self, hidden: Tensor, groups: Tensor, codes: Tensor) -> Tensor:
        """Mean -log2 P of the codes [n], given their groups."""
        table = self.get_buffer("table")[groups]  # [n M]
        known = table.clamp(max=len(self.bias) - 1)
        u = (self.hidden(hidden) + self.groups[groups]).clamp(0, _LARGEST_HIDDEN)
        logits = torch.einsum("nmv,nv->nm", self.weight[known], u) + self.bias[known]
        logits = logits.masked_fill(table != known, -torch.inf)
        return _bits(logits, (table == codes[:, None]).int().argmax(1))


def _output(width: int, counts: Tensor) -> nn.Linear:
    """A layer that begins with the frequencies of training."""
    layer = nn.Linear(width, len(counts))
    nn.init.normal_(layer.weight, std=0.5 / math.sqrt(width))
    with torch.no_grad():
        layer.bias.copy_((counts / counts.mean()).log2())
    return layer


def _bits(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy in bits of logarithms to base 2."""
    return F.cross_entropy(logits * math.log(2), target) / math.log(2)


def real_arrays(network: LevelPrior) -> dict[str, NDArray[np.float32]]:
    """Weights by the names of `anycodec.bitstream.prior_network.quantised`."""
    arrays: dict[str, Tensor] = {
        f"codes.{source}": network.get_parameter(f"codes.{source}.weight") for source in network.codes
    }
    arrays |= {f"places.{axis}": table for axis, table in enumerate(network.places)}
    for name, layer in (("a", network.a), ("b", network.b), ("c", network.c)):
        arrays |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
    if network.members is not None:
        members = network.members
        arrays |= {"u.weight": members.hidden.weight, "u.groups": members.groups}
        arrays |= {"d.weight": members.weight, "d.bias": members.bias}
    return {name: tensor.detach().cpu().numpy() for name, tensor in arrays.items()}
