"""OptVQ: codes that share each training batch alike, by optimal transport (arXiv 2412.15195)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anycodec.config.quantizer import OptVqSpec
from anycodec.torch.quantizers.codebook import Match
from anycodec.torch.quantizers.learned import LearnedCodebook, set_rows
from anycodec.torch.quantizers.search import nearest
from anycodec.torch.quantizers.sinkhorn import Transport
from anycodec.torch.quantizers.through_linear import seen_back, seen_through, square_linear
from anycodec.torch.quantizers.tiles import row_tiles


class OptVq(LearnedCodebook):
    """Training assigns the joint batch by Sinkhorn, evaluation takes nearest codes: tokens of a file

    must not depend on what it is batched with. Codes start in N(0, 1/d) and are seen through a learned
    linear layer (`projection`). H heads are H levels of tokens.

    loss l2: |sg(z) - q|^2 + beta |z - sg(q)|^2; l1 likewise; ce: -log softmax_k(-|z - c_k|)[index].
    """

    spec: OptVqSpec

    def __init__(self, spec: OptVqSpec, dim: int) -> None:
        super().__init__(spec, dim, spec.heads)
        width = self.space.dim
        self.codebook = nn.Parameter(torch.randn(spec.codebook_size, width) * width**-0.5)
        self.linear = square_linear(width) if spec.projection else None

    def table(self) -> Tensor:
        return self.codebook if self.linear is None else seen_through(self.linear, self.codebook)

    @torch.no_grad()
    def assign(self, z: Tensor, codes: Tensor) -> Tensor:
        if not self.training:
            return nearest(z, codes)
        return Transport(z, codes, self.spec.epsilon, self.spec.iterations, self.spec.cost).best()

    def fit(self, match: Match) -> dict[str, Tensor]:
        if self.spec.loss == "ce":
            return {"cross_entropy": cross_entropy(match)}
        distance = F.mse_loss if self.spec.loss == "l2" else F.l1_loss
        return {
            "codebook": distance(match.q, match.z.detach()),
            "commitment": self.spec.beta * distance(match.z, match.q.detach()),
        }

    @torch.no_grad()
    def place(self, which: Tensor, values: Tensor, counts: Tensor) -> None:
        rows = values if self.linear is None else seen_back(self.linear, values)
        set_rows(self.codebook, which, rows)


def cross_entropy(match: Match) -> Tensor:
    """Mean over points of -log softmax_k(-|z - c_k|) at their codes, tile by tile."""
    total = match.z.new_zeros(())
    for tile in row_tiles(len(match.z), len(match.codes)):
        # the distances of a tile are computed again for the gradient instead of being kept
        total = total + checkpoint(
            _cross_entropy_sum, match.z[tile], match.codes, match.index[tile], use_reentrant=False
        )
    return total / len(match.z)


def _cross_entropy_sum(z: Tensor, codes: Tensor, index: Tensor) -> Tensor:
    with torch.autocast(z.device.type, enabled=False):
        return F.cross_entropy(-torch.cdist(z, codes), index, reduction="sum")
