"""What quantizers with a table of codes share: search, k-means start, restart of dead codes."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.distributed as dist
from torch import Tensor

from anycodec.config.quantizer import CodebookSpec
from anycodec.torch.quantizers.base import Quantized, Quantizer, TokenGrids
from anycodec.torch.quantizers.kmeans import kmeans
from anycodec.torch.quantizers.search import nearest


class CodebookQuantizer(Quantizer):
    """Nearest neighbour in one table of codes.

    For the first `kmeans_after` steps training passes latents through unquantised: the autoencoder
    finds a usable latent first, and the codes then start from k-means of one batch of it. Evaluation
    always quantises.

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
        """Move codes `which` [M] to `values` [M D], as if they had been used `counts` [M] a step."""

    def learn(self, z: Tensor, index: Tensor) -> None:
        """Update state from a training batch; the default learns by gradient only."""

    def forward(self, z: Tensor) -> Quantized:
        flat = z.movedim(1, -1).reshape(-1, self.dim).float()
        grid = z.movedim(1, -1).shape[:-1]
        passing = self.training and self._start(flat.detach())
        table = self.codes()
        index = nearest(flat.detach(), table.detach())
        q = table[index]
        if passing:
            values, terms = flat, {}
        elif self.training:
            values, terms = flat + (q - flat).detach(), self.losses(flat, q)
            self.learn(flat.detach(), index)
            self._restart(flat.detach(), index)
        else:
            values, terms = q, self.losses(flat, q)
        shaped = values.reshape(*grid, self.dim).movedim(-1, 1)
        return Quantized(shaped, (index.reshape(grid),), terms, self._stats(index))

    def lookup(self, tokens: TokenGrids) -> Tensor:
        (index,) = tokens
        return self.codes()[index].movedim(-1, 1)

    @torch.no_grad()
    def _start(self, flat: Tensor) -> bool:
        """Count a training step; start the codes when their time has come.

        Returns:
            Whether latents still pass unquantised.
        """
        step = int(self.steps)
        self.steps += 1
        if not self.spec.kmeans_init or step > self.spec.kmeans_after:
            return False
        if step == self.spec.kmeans_after:
            codes, share = kmeans(flat, self.spec.codebook_size, self.spec.kmeans_iterations)
            if dist.is_initialized():
                dist.broadcast(codes, 0)
                dist.broadcast(share, 0)
            self.place(torch.arange(len(codes), device=codes.device), codes, share * len(flat))
            return False
        return True

    @torch.no_grad()
    def _restart(self, flat: Tensor, index: Tensor) -> None:
        """Codes without use for too long move to random latents of the batch."""
        if self.spec.restart_after == 0:
            return
        used = torch.bincount(index, minlength=self.spec.codebook_size) > 0
        if dist.is_initialized():
            used = used.int()
            dist.all_reduce(used)
            used = used > 0
        self.idle.add_(1).masked_fill_(used, 0)
        dead = (self.idle >= self.spec.restart_after).nonzero().flatten()
        if not len(dead):
            return
        values = flat[torch.randint(len(flat), (len(dead),), device=flat.device)]
        average = len(flat) / self.spec.codebook_size
        if dist.is_initialized():
            dist.broadcast(values, 0)
        self.place(dead, values, torch.full((len(dead),), average, device=flat.device))
        self.idle[dead] = 0

    def _stats(self, index: Tensor) -> dict[str, Tensor]:
        counts = torch.bincount(index, minlength=self.spec.codebook_size).float()
        p = counts / counts.sum()
        return {
            "perplexity": torch.exp(-torch.special.xlogy(p, p).sum()),
            "codes_used": (counts > 0).float().mean(),
        }
