"""VQ with codes as moving averages of their latents (van den Oord et al. 2017, appendix A.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from anycodec.config.quantizer import EmaSpec
from anycodec.torch.quantizers.codebook import CodebookQuantizer, Match
from anycodec.torch.quantizers.ranks import sum_over_ranks


class Ema(CodebookQuantizer):
    """N_k <- d N_k + (1-d) n_k, m_k <- d m_k + (1-d) sum z, c_k = m_k / N'_k,

    with Laplace smoothing N'_k = (N_k + eps) / (sum N + K eps) sum N. A batch is quantised with the
    codes from before its update. loss = beta |z - sg(q)|^2.
    """

    spec: EmaSpec
    codebook: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, spec: EmaSpec, dim: int) -> None:
        super().__init__(spec, dim)
        codes = torch.randn(spec.codebook_size, self.space.dim)
        self.register_buffer("codebook", codes)
        self.register_buffer("counts", torch.ones(spec.codebook_size))
        self.register_buffer("sums", codes.clone())

    def table(self) -> Tensor:
        return self.codebook

    def losses(self, match: Match) -> dict[str, Tensor]:
        return {"commitment": self.spec.beta * F.mse_loss(match.z, match.q.detach())}

    @torch.no_grad()
    def learn(self, z: Tensor, index: Tensor, counts: Tensor) -> None:
        total = sum_over_ranks(torch.zeros_like(self.sums).index_add_(0, index, z))
        self.counts.lerp_(counts, 1 - self.spec.decay)
        self.sums.lerp_(total, 1 - self.spec.decay)
        mass = self.counts.sum()
        smoothed = (self.counts + self.spec.epsilon) / (mass + len(counts) * self.spec.epsilon) * mass
        self.codebook = self.sums / smoothed[:, None]

    @torch.no_grad()
    def place(self, which: Tensor, values: Tensor, counts: Tensor) -> None:
        self.codebook = self.codebook.index_copy(0, which, values)
        self.counts[which] = counts
        self.sums[which] = values * counts[:, None]
