"""What quantizers without a table share: codes are points of a grid that arithmetic numbers."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from anycodec.torch.quantizers.base import Quantized, Quantizer, TokenGrids
from anycodec.torch.quantizers.projection import projections
from anycodec.torch.quantizers.ranks import sum_over_ranks
from anycodec.torch.quantizers.usage import code_use


class ImplicitQuantizer(Quantizer):
    """Latents [N D] -> [N d] -> the nearest point of a grid -> [N D], in float32 whatever the autocast.

    Learned linear layers lead in and out where D differs from d.

    Args:
        dim: D.
        code_dim: d.
        codebook_size: K, the number of points.
    """

    def __init__(self, dim: int, code_dim: int, codebook_size: int) -> None:
        super().__init__()
        self.codebook_size = codebook_size
        self.project_in: nn.Module = nn.Identity()
        self.project_out: nn.Module = nn.Identity()
        if dim != code_dim:
            self.project_in, self.project_out = projections(dim, code_dim)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return (self.codebook_size,)

    @abstractmethod
    def bound(self, z: Tensor) -> Tensor:
        """Latents [N d] into the range of the grid, differentiably."""

    @abstractmethod
    def index_of(self, bounded: Tensor) -> Tensor:
        """Number of the grid point of each row of [N d]."""

    @abstractmethod
    def codes_of(self, index: Tensor) -> Tensor:
        """Grid points [... d] of their numbers [...]."""

    @abstractmethod
    def gradient_path(self, bounded: Tensor) -> Tensor:
        """What carries the gradient of the codes: [N d] in the units of the codes."""

    def losses(self, bounded: Tensor, q: Tensor) -> dict[str, Tensor]:
        """Weighted terms from bounded latents and their codes, [N d] each."""
        return {}

    def forward(self, z: Tensor) -> Quantized:
        grid = z.movedim(1, -1)
        with torch.autocast(z.device.type, enabled=False):
            bounded = self.bound(self.project_in(grid.reshape(-1, z.shape[1]).float()))
            index = self.index_of(bounded.detach())
            q = self.codes_of(index)
            path = self.gradient_path(bounded)
            values: Tensor = self.project_out(q + (path - path.detach()))
            terms = self.losses(bounded, q)
        counts = torch.bincount(index, minlength=self.codebook_size).float()
        stats = code_use(sum_over_ranks(counts) if self.training else counts)
        tokens = index.reshape(grid.shape[:-1])
        return Quantized(values.reshape(grid.shape).movedim(-1, 1), (tokens,), terms, stats)

    def lookup(self, tokens: TokenGrids) -> Tensor:
        (index,) = tokens
        with torch.autocast(index.device.type, enabled=False):
            values: Tensor = self.project_out(self.codes_of(index.flatten()))
        return values.reshape(*index.shape, -1).movedim(-1, 1)
