"""SimVQ: a frozen codebook seen through one learned linear layer (arXiv 2411.02038)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.quantizer import SimVqSpec
from anycodec.torch.quantizers.codebook import CodebookQuantizer


class SimVq(CodebookQuantizer):
    """q = E_j W + b with E ~ N(0, 1/D) frozen: every step moves the whole table, so no code dies.

    loss = |sg(z) - q|^2 + beta |z - sg(q)|^2, means over elements. W starts orthogonal. With
    `kmeans_init` the frozen table is set to the latents' k-means seen back through the layer.
    """

    frozen: Tensor

    def __init__(self, spec: SimVqSpec, dim: int) -> None:
        super().__init__(spec, dim)
        self.register_buffer("frozen", torch.randn(spec.codebook_size, dim) * dim**-0.5)
        self.linear = nn.Linear(dim, dim)
        nn.init.orthogonal_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def codes(self) -> Tensor:
        with torch.autocast(self.frozen.device.type, enabled=False):
            table: Tensor = self.linear(self.frozen)
            return table

    def losses(self, z: Tensor, q: Tensor) -> dict[str, Tensor]:
        return {
            "codebook": F.mse_loss(q, z.detach()),
            "commitment": self.spec.beta * F.mse_loss(z, q.detach()),
        }

    @torch.no_grad()
    def place(self, which: Tensor, values: Tensor, counts: Tensor) -> None:
        """E = (q - b) W^-1, by the pseudo-inverse where W is near singular."""
        inverse = torch.linalg.pinv(self.linear.weight, rtol=1e-3)
        self.frozen[which] = (values - self.linear.bias) @ inverse.T
