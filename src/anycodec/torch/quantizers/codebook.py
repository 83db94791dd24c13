"""What quantizers with a table of codes share: search, k-means start, restart of dead codes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anycodec.config.quantizer import CodebookSpec
from anycodec.torch.quantizers.base import Quantized, Quantizer, TokenGrids
from anycodec.torch.quantizers.gradient import rotation, straight_through
from anycodec.torch.quantizers.kmeans import kmeans
from anycodec.torch.quantizers.ranks import agree, join_ranks, sum_over_ranks
from anycodec.torch.quantizers.regularizers import entropy
from anycodec.torch.quantizers.search import nearest
from anycodec.torch.quantizers.space import CodeSpace
from anycodec.torch.quantizers.usage import code_use, level_stats

STARTING_LATENTS = 64
"""Latents a code that the k-means start wants."""
DEAD_AFTER = 100
"""Training steps without use after which `codes_dead` counts a code."""


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


class CodebookQuantizer(Quantizer):
    """One table of codes [K d], and latents [N D] as points [N*H d] of its space.

    With `kmeans_after` 0 the codes start before training, from k-means of many batches of latents
    (`start`). Else the first `kmeans_after` steps pass latents through unquantised with terms of zero:
    the autoencoder finds a usable latent first, and the codes start from k-means of one batch of it.
    Evaluation always quantises.

    Args:
        spec: settings.
        dim: D.
        heads: H, tokens a latent.
    """

    steps: Tensor
    idle: Tensor

    def __init__(self, spec: CodebookSpec, dim: int, heads: int = 1) -> None:
        super().__init__()
        self.spec = spec
        self.heads = heads
        self.space = CodeSpace(spec, dim, heads)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("idle", torch.zeros(spec.codebook_size, dtype=torch.int32))

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return self.spec.codebook_sizes

    @abstractmethod
    def table(self) -> Tensor:
        """Codes [K d] before any normalisation, differentiable where they are learned."""

    @abstractmethod
    def losses(self, match: Match) -> dict[str, Tensor]:
        """Weighted terms of a batch."""

    @abstractmethod
    def place(self, which: Tensor, values: Tensor, counts: Tensor) -> None:
        """Move codes `which` [M] to `values` [M d], as if they had been used `counts` [M] times a step.

        Tensors that a gradient may still be taken through are replaced, not changed.
        """

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

    def forward(self, z: Tensor) -> Quantized:
        grid = z.movedim(1, -1)
        points = self.space.enter(grid.flatten(0, -2))
        latents = points.detach()
        passing = self.training and self._start(latents)
        if self.training:
            self._restart(latents)
        codes = self.codes()
        index = self.assign(latents, codes.detach())
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
            self.idle.add_(1).masked_fill_(counts.sum(dim=0) > 0, 0)
        tokens = index.reshape(*grid.shape[:-1], self.heads).unbind(dim=-1)
        values = self.space.leave(values).reshape(grid.shape).movedim(-1, 1)
        return Quantized(values, tokens, terms, self._stats(counts))

    def lookup(self, tokens: TokenGrids) -> Tensor:
        index = torch.stack(tokens, dim=-1)
        values = self.space.leave(F.embedding(index.flatten(), self.codes()))
        return values.reshape(*index.shape[:-1], -1).movedim(-1, 1)

    @property
    def latents_wanted(self) -> int:
        early = self.spec.kmeans_init and self.spec.kmeans_after == 0 and int(self.steps) == 0
        return -(-STARTING_LATENTS * self.spec.codebook_size // self.heads) if early else 0

    @torch.no_grad()
    def start(self, latents: Tensor) -> None:
        points = self.space.enter(latents)
        self._place_kmeans(points, a_step=len(points))
        self.steps += 1

    def _place_kmeans(self, latents: Tensor, a_step: int) -> None:
        """Codes from k-means of `latents`, as if `a_step` latents a step had been seen so far."""
        codes, share = kmeans(
            latents, self.spec.codebook_size, self.spec.kmeans_iterations, onto=self.space.on_sphere
        )
        self.place(torch.arange(len(codes), device=codes.device), agree(codes), agree(share) * a_step)

    @torch.no_grad()
    def _start(self, latents: Tensor) -> bool:
        """Count a training step; start the codes when their time has come.

        Returns:
            Whether latents still pass unquantised.
        """
        step = int(self.steps)
        self.steps += 1
        if not self.spec.kmeans_init or step > self.spec.kmeans_after:
            return False
        if step < self.spec.kmeans_after:
            return True
        pool = join_ranks(latents)
        self._place_kmeans(pool, a_step=len(pool))
        return False

    @torch.no_grad()
    def _restart(self, latents: Tensor) -> None:
        """Codes without use for too long move to random latents of the batch, each to another one."""
        if self.spec.restart_after == 0:
            return
        dead = (self.idle >= self.spec.restart_after).nonzero().flatten()
        if not len(dead):
            return
        pool = join_ranks(latents)
        dead = dead[: len(pool)]
        values = agree(pool[torch.randperm(len(pool), device=pool.device)[: len(dead)]])
        average = values.new_full((len(dead),), len(pool) / self.spec.codebook_size)
        self.place(dead, values, average)
        self.idle[dead] = 0

    def _entropy(self, match: Match) -> dict[str, Tensor]:
        weight = self.spec.entropy_weight
        if weight == 0:
            return {}
        return {"entropy": weight * entropy(match.z, match.codes, self.spec.entropy_temperature)}

    def _counts(self, index: Tensor) -> Tensor:
        """Uses of each code a head, [H K]; in training summed over processes."""
        size = self.spec.codebook_size
        head = torch.arange(len(index), device=index.device) % self.heads
        counts = torch.bincount(index + size * head, minlength=size * self.heads).float()
        counts = counts.reshape(self.heads, size)
        return sum_over_ranks(counts) if self.training else counts

    def _stats(self, counts: Tensor) -> dict[str, Tensor]:
        dead = (self.idle >= DEAD_AFTER).float().mean()
        return level_stats([code_use(head) for head in counts]) | {"codes_dead": dead}
