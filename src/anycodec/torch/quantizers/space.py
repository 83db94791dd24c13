"""The space in which latents meet codes: as it is, narrower, split into heads, or a sphere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.quantizer import CodebookSpec
from anycodec.errors import ConfigError, UserError
from anycodec.torch.quantizers.projection import projections


class CodeSpace(nn.Module):
    """Latents [N D] <-> points [N*H d] that are compared with codes [K d].

    `code_dim` narrows latents by a learned projection and widens codes again (Yu et al. 2022,
    arXiv 2110.04627, section 3.2); both start as one orthonormal basis. Heads split the channels
    into contiguous blocks. With `distance: cosine` points and codes have length one.

    Args:
        spec: settings.
        dim: D.
        heads: H.

    Raises:
        ConfigError: heads do not divide the channels.
    """

    def __init__(self, spec: CodebookSpec, dim: int, heads: int) -> None:
        super().__init__()
        width = spec.code_dim or dim
        if width % heads:
            mistake = UserError(
                f"{heads} heads do not divide the {width} channels that are quantised",
                where="codec.quantizer.heads",
                how="choose a divisor, or another width of the latent",
            )
            raise ConfigError([mistake])
        self.heads = heads
        self.width = width
        self.dim = width // heads
        self.cosine = spec.distance == "cosine"
        self.narrow: nn.Module = nn.Identity()
        self.widen: nn.Module = nn.Identity()
        if spec.code_dim is not None:
            self.narrow, self.widen = projections(dim, width)

    def enter(self, z: Tensor) -> Tensor:
        """Latents [N D] -> points [N*H d], in float32."""
        with torch.autocast(z.device.type, enabled=False):
            points: Tensor = self.narrow(z.float())
            return self.on_sphere(points.reshape(-1, self.dim))

    def leave(self, points: Tensor) -> Tensor:
        """Points [N*H d] -> latents [N D]."""
        with torch.autocast(points.device.type, enabled=False):
            z: Tensor = self.widen(points.reshape(-1, self.width))
            return z

    def on_sphere(self, points: Tensor) -> Tensor:
        """Rows of length one where distances are cosines: |a - b|^2 = 2 - 2 cos(a, b)."""
        return F.normalize(points, dim=-1) if self.cosine else points
