"""SimVQ: a frozen codebook seen through one learned linear layer (arXiv 2411.02038)."""

from __future__ import annotations

import torch
from torch import Tensor

from anycodec.config.quantizer import SimVqSpec
from anycodec.torch.quantizers.learned import LearnedCodebook
from anycodec.torch.quantizers.through_linear import seen_back, seen_through, square_linear


class SimVq(LearnedCodebook):
    """q = E_j W + b with E ~ N(0, 1/D) frozen: every step moves the whole table, so no code dies.

    W starts orthogonal. With `kmeans_init` the frozen table is set to the latents' k-means seen back
    through the layer.
    """

    frozen: Tensor

    def __init__(self, spec: SimVqSpec, dim: int) -> None:
        super().__init__(spec, dim)
        width = self.space.dim
        self.register_buffer("frozen", torch.randn(spec.codebook_size, width) * width**-0.5)
        self.linear = square_linear(width)

    def table(self) -> Tensor:
        return seen_through(self.linear, self.frozen)

    @torch.no_grad()
    def place(self, which: Tensor, values: Tensor, counts: Tensor) -> None:
        self.frozen = self.frozen.index_copy(0, which, seen_back(self.linear, values))
