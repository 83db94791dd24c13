"""How codes start, by k-means of latents, and start again when they are dead."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from anycodec.config.quantizer import CodebookSpec
from anycodec.torch.quantizers.base import Quantizer
from anycodec.torch.quantizers.kmeans import kmeans
from anycodec.torch.quantizers.ranks import agree, join_ranks
from anycodec.torch.quantizers.space import CodeSpace

STARTING_LATENTS = 64
"""Latents a code that the k-means start wants."""
DEAD_AFTER = 100
"""Training steps without use after which `codes_dead` counts a code."""


class RenewedCodes(Quantizer):
    """A quantizer whose codes are placed where latents are.

    With `kmeans_after` 0 they start before training, from k-means of many batches of latents (`start`).
    Else the first `kmeans_after` steps wait: the autoencoder finds a usable latent first, and the codes
    start from k-means of one batch of it. Codes that training has not used for `restart_after` steps
    move to latents.

    Args:
        spec: settings.
        space: of the codes.
    """

    steps: Tensor
    idle: Tensor

    def __init__(self, spec: CodebookSpec, space: CodeSpace) -> None:
        super().__init__()
        self.spec = spec
        self.space = space
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("idle", torch.zeros(spec.codebook_size, dtype=torch.int32))

    @abstractmethod
    def place(self, which: Tensor, values: Tensor, counts: Tensor) -> None:
        """Move codes `which` [M] to `values` [M d], as if they had been used `counts` [M] times a step.

        Tensors that a gradient may still be taken through are replaced, not changed.
        """

    @property
    def latents_wanted(self) -> int:
        early = self.spec.kmeans_init and self.spec.kmeans_after == 0 and int(self.steps) == 0
        wanted = STARTING_LATENTS * self.spec.codebook_size
        return -(-wanted // self.space.heads) if early else 0

    @torch.no_grad()
    def start(self, latents: Tensor) -> None:
        points = self.space.enter(latents)
        self._place_kmeans(points, a_step=len(points))
        self.steps += 1

    def settle(self) -> None:
        """Take the codes as trained: they neither wait nor start from k-means."""
        self.steps.clamp_(min=self.spec.kmeans_after + 1)

    def _place_kmeans(self, latents: Tensor, a_step: int) -> None:
        """Codes from k-means of `latents`, as if `a_step` latents a step had been seen so far."""
        codes, share = kmeans(
            latents, self.spec.codebook_size, self.spec.kmeans_iterations, onto=self.space.on_sphere
        )
        self.place(torch.arange(len(codes), device=codes.device), agree(codes), agree(share) * a_step)

    @torch.no_grad()
    def renew(self, latents: Tensor) -> bool:
        """Before a training step on this process's points [N d]: start the codes, restart dead ones.

        Returns:
            Whether latents still pass unquantised.
        """
        passing = self._wait_or_start(latents)
        self._restart(latents)
        return passing

    def rest(self, counts: Tensor) -> None:
        """After a training step: note which codes it used, by their uses [K] over all processes."""
        self.idle.add_(1).masked_fill_(counts > 0, 0)

    def share_dead(self) -> Tensor:
        """Share of codes that training has not used for a while, []."""
        return (self.idle >= DEAD_AFTER).float().mean()

    def _wait_or_start(self, latents: Tensor) -> bool:
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
