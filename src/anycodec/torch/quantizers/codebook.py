"""What quantizers with a table of codes share: from latents to the values of their codes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anycodec.config.quantizer import CodebookSpec
from anycodec.torch.quantizers.base import Quantized, TokenGrids
from anycodec.torch.quantizers.gradient import rotation, straight_through
from anycodec.torch.quantizers.ranks import sum_over_ranks
from anycodec.torch.quantizers.regularizers import entropy
from anycodec.torch.quantizers.renewal import RenewedCodes
from anycodec.torch.quantizers.search import nearest
from anycodec.torch.quantizers.space import CodeSpace
from anycodec.torch.quantizers.usage import code_use, level_stats


@dataclass(frozen=True, slots=True)
class Match:
    """Points and the codes that they were given.

    Attributes:
        z: points [N d], with gradient.
        codes: the effective table [K d].
        index: [N] int64.
        q: codes[index], [N d].
    """

    z: Tensor
    codes: Tensor
    index: Tensor
    q: Tensor


class CodebookQuantizer(RenewedCodes):
    """One table of codes [K d], and latents [N D] as points [N*H d] of its space.

    Latents take the values of their nearest codes; while the codes wait for their start, training
    passes latents through unquantised with terms of zero. Evaluation always quantises.

    Args:
        spec: settings.
        dim: D.
        heads: H, tokens a latent.
    """

    def __init__(self, spec: CodebookSpec, dim: int, heads: int = 1) -> None:
        super().__init__(spec, CodeSpace(spec, dim, heads))

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return self.spec.codebook_sizes

    @abstractmethod
    def table(self) -> Tensor:
        """Codes [K d] before any normalisation, differentiable where they are learned."""

    @abstractmethod
    def losses(self, match: Match) -> dict[str, Tensor]:
        """Weighted terms of a batch."""

    def assign(self, z: Tensor, codes: Tensor) -> Tensor:
        """The code of each of this process's points [N d]: [N] int64."""
        return nearest(z, codes)

    def learn(self, z: Tensor, index: Tensor, counts: Tensor) -> None:
        """Update state from a training batch; the default learns by gradient only.

        Args:
            z: this process's points [N d].
            index: their codes [N].
            counts: uses of each code [K], summed over processes.
        """

    def codes(self) -> Tensor:
        """The effective table [K d]."""
        return self.space.on_sphere(self.table())

    def forward(self, z: Tensor, chosen: Tensor | None = None) -> Quantized:
        """Quantise latents [B D *g]; with codes `chosen` [N] for the points instead of the nearest."""
        grid = z.movedim(1, -1)
        points = self.space.enter(grid.flatten(0, -2))
        latents = points.detach()
        passing = self.training and self.renew(latents)
        codes = self.codes()
        index = self.assign(latents, codes.detach()) if chosen is None else chosen
        match = Match(points, codes, index, F.embedding(index, codes))
        terms = self.losses(match) | self._entropy(match)
        if passing:
            values, terms = points, {name: 0.0 * term for name, term in terms.items()}
        else:
            carry = rotation if self.spec.gradient == "rotation" else straight_through
            values = carry(points, match.q)
        counts = self._counts(index)
        if self.training and not passing:
            self.learn(latents, index, counts.sum(dim=0))
            self.rest(counts.sum(dim=0))
        tokens = index.reshape(*grid.shape[:-1], self.space.heads).unbind(dim=-1)
        values = self.space.leave(values).reshape(grid.shape).movedim(-1, 1)
        return Quantized(values, tokens, terms, self._stats(counts))

    def lookup(self, tokens: TokenGrids) -> Tensor:
        index = torch.stack(tokens, dim=-1)
        values = self.space.leave(F.embedding(index.flatten(), self.codes()))
        return values.reshape(*index.shape[:-1], -1).movedim(-1, 1)

    def _entropy(self, match: Match) -> dict[str, Tensor]:
        weight = self.spec.entropy_weight
        if weight == 0:
            return {}
        return {"entropy": weight * entropy(match.z, match.codes, self.spec.entropy_temperature)}

    def _counts(self, index: Tensor) -> Tensor:
        """Uses of each code a head, [H K]; in training summed over processes."""
        size = self.spec.codebook_size
        head = torch.arange(len(index), device=index.device) % self.space.heads
        counts = torch.bincount(index + size * head, minlength=size * self.space.heads).float()
        counts = counts.reshape(self.space.heads, size)
        return sum_over_ranks(counts) if self.training else counts

    def _stats(self, counts: Tensor) -> dict[str, Tensor]:
        return level_stats([code_use(head) for head in counts]) | {"codes_dead": self.share_dead()}
