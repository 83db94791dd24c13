"""VQ: a codebook learned by gradient (van den Oord et al. 2017, arXiv 1711.00937)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anycodec.config.quantizer import VqSpec
from anycodec.torch.quantizers.learned import LearnedCodebook, set_rows


class Vq(LearnedCodebook):
    """The codes are parameters that start in U(-1/K, 1/K)."""

    def __init__(self, spec: VqSpec, dim: int) -> None:
        super().__init__(spec, dim)
        codes = torch.empty(spec.codebook_size, self.space.dim).uniform_(-1, 1) / spec.codebook_size
        self.codebook = nn.Parameter(codes)

    def table(self) -> Tensor:
        return self.codebook

    @torch.no_grad()
    def place(self, which: Tensor, values: Tensor, counts: Tensor) -> None:
        set_rows(self.codebook, which, values)
