"""VQ: a codebook learned by gradient (van den Oord et al. 2017, arXiv 1711.00937, eq. 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.quantizer import VqSpec
from anycodec.torch.quantizers.codebook import CodebookQuantizer


class Vq(CodebookQuantizer):
    """loss = |sg(z) - q|^2 + beta |z - sg(q)|^2, means over elements; codes start in U(-1/K, 1/K)."""

    def __init__(self, spec: VqSpec, dim: int) -> None:
        super().__init__(spec, dim)
        self.codebook = nn.Parameter(
            torch.empty(spec.codebook_size, dim).uniform_(-1, 1) / spec.codebook_size
        )

    def codes(self) -> Tensor:
        return self.codebook

    def losses(self, z: Tensor, q: Tensor) -> dict[str, Tensor]:
        return {
            "codebook": F.mse_loss(q, z.detach()),
            "commitment": self.spec.beta * F.mse_loss(z, q.detach()),
        }

    @torch.no_grad()
    def place(self, which: Tensor, values: Tensor, counts: Tensor) -> None:
        self.codebook[which] = values
