"""What quantizers with a table of codes share: search, k-means start, restart of dead codes."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from anycodec.config.quantizer import CodebookSpec
from anycodec.torch.quantizers.base import Quantized, Quantizer, TokenGrids
from anycodec.torch.quantizers.kmeans import kmeans
from anycodec.torch.quantizers.ranks import agree, join_ranks, sum_over_ranks
from anycodec.torch.quantizers.search import nearest

STARTING_LATENTS = 64
"""Latents a code that the k-means start wants."""
DEAD_AFTER = 100
"""Training steps without use after which `codes_dead` counts a code."""


class CodebookQuantizer(Quantizer):
    """Nearest neighbour in one table of codes.

    With `kmeans_after` 0 the codes start before training, from k-means of many batches of latents
    (`start`). Else the first `kmeans_after` steps pass latents through unquantised with terms of zero:
    the autoencoder finds a usable latent first, and the codes start from k-means of one batch of it.
    Evaluation always quantises.

    Args:
        spec: settings.
        dim: D.
    """

    steps: Tensor
    idle: Tensor

    def __init__(self, spec: CodebookSpec, dim: int) -> None:
        super().__init__()
        self.spec = spec
        self.dim = dim
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("idle", torch.zeros(spec.codebook_size, dtype=torch.int32))

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return (self.spec.codebook_size,)

    @abstractmethod
    def codes(self) -> Tensor:
        """The effective table [K D], differentiable where it is learned."""

    @abstractmethod
    def losses(self, z: Tensor, q: Tensor) -> dict[str, Tensor]:
        """Weighted terms from latents and their codes, [N D] each."""

    @abstractmethod
    def place(self, which: Tensor, values: Tensor, counts: Tensor) -> None:
        """Move codes `which` [M] to `values` [M D], as if they had been used `counts` [M] times a step."""

    def learn(self, z: Tensor, index: Tensor, counts: Tensor) -> None:
        """Update state from a training batch; the default learns by gradient only.

        Args:
            z: this process's latents [N D].
            index: their codes [N].
            counts: uses of each code [K], summed over processes.
        """

    def forward(self, z: Tensor) -> Quantized:
        grid = z.movedim(1, -1)
        flat = grid.reshape(-1, self.dim).float()
        latents = flat.detach()
        passing = self.training and self._start(latents)
        if self.training:
            self._restart(latents)
        table = self.codes()
        index = nearest(latents, table.detach())
        q = F.embedding(index, table)
        terms = self.losses(flat, q)
        counts = torch.bincount(index, minlength=self.spec.codebook_size).float()
        if passing:
            values, terms = flat, {name: 0.0 * term for name, term in terms.items()}
        else:
            values = straight_through(flat, q)
        if self.training:
            counts = sum_over_ranks(counts)
        if self.training and not passing:
            self.learn(latents, index, counts)
            self.idle.add_(1).masked_fill_(counts > 0, 0)
        tokens = index.reshape(grid.shape[:-1])
        return Quantized(values.reshape(grid.shape).movedim(-1, 1), (tokens,), terms, self._stats(counts))

    def lookup(self, tokens: TokenGrids) -> Tensor:
        (index,) = tokens
        return F.embedding(index, self.codes()).movedim(-1, 1)

    @property
    def latents_wanted(self) -> int:
        early = self.spec.kmeans_init and self.spec.kmeans_after == 0 and int(self.steps) == 0
        return STARTING_LATENTS * self.spec.codebook_size if early else 0

    @torch.no_grad()
    def start(self, latents: Tensor) -> None:
        self._place_kmeans(latents, a_step=len(latents))
        self.steps += 1

    def _place_kmeans(self, latents: Tensor, a_step: int) -> None:
        """Codes from k-means of `latents`, as if `a_step` latents a step had been seen so far."""
        codes, share = kmeans(latents, self.spec.codebook_size, self.spec.kmeans_iterations)
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

    def _stats(self, counts: Tensor) -> dict[str, Tensor]:
        p = counts / counts.sum()
        return {
            "perplexity": torch.exp(-torch.special.xlogy(p, p).sum()),
            "codes_used": (counts > 0).float().mean(),
            "codes_dead": (self.idle >= DEAD_AFTER).float().mean(),
        }


def straight_through(z: Tensor, q: Tensor) -> Tensor:
    """Exactly the values of `q`, with the gradient of `z` (Bengio et al. 2013, arXiv 1308.3432)."""
    return q.detach() + (z - z.detach())
