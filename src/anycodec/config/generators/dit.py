"""The diffusion transformer."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from anycodec.config.generators.base import AnyGeneratorSpec
from anycodec.config.losses.base import Misfit


class _Size(NamedTuple):
    width: int
    depth: int
    heads: int


_SIZES = {
    "tiny": _Size(192, 6, 3),
    "S": _Size(384, 12, 6),
    "B": _Size(768, 12, 12),
    "L": _Size(1024, 24, 16),
    "XL": _Size(1152, 28, 16),
}
"""S to XL as published (DiT, arXiv 2212.09748, table 1; LightningDiT), tiny for processors without a GPU."""


class DitSpec(AnyGeneratorSpec):
    """LightningDiT (arXiv 2501.01423): a transformer over patches of latents, with adaLN-Zero conditioning.

    Latents of any number of grid axes. Its positions are those of the grid it was made for.
    """

    type: Literal["dit"] = "dit"
    size: Literal["tiny", "S", "B", "L", "XL"] = Field("tiny", description="preset of width, depth and heads")
    width: int | None = Field(None, ge=4, description="width of a token; null = the size's")
    depth: int | None = Field(None, ge=1, description="blocks; null = the size's")
    heads: int | None = Field(None, ge=1, description="attention heads; null = the size's")
    patch_size: int = Field(1, ge=1, description="latent positions a token covers along each axis")
    mlp_ratio: float = Field(
        4.0, gt=0, description="hidden units of a block's MLP per unit of width; SwiGLU has 2/3 of them"
    )
    swiglu: bool = Field(True, description="SwiGLU in the MLP (arXiv 2002.05202), false = GELU")
    norm: Literal["rms", "layer"] = Field("rms", description="RMSNorm with a scale, or LayerNorm without one")
    qk_norm: bool = Field(
        False,
        description="normalise queries and keys: against NaN late in training, at a cost in quality",
    )
    rope: bool = Field(True, description="rotary position embeddings (arXiv 2104.09864) beside sin-cos ones")
    shift: bool = Field(True, description="adaLN shifts blocks' inputs too, false = scales and gates them")
    gradient_checkpointing: bool = Field(
        False, description="compute blocks again in the backward pass: less memory, a third more time"
    )

    @property
    def dimensions(self) -> tuple[int, int, int]:
        """Width, depth and heads."""
        size = _SIZES[self.size]
        return self.width or size.width, self.depth or size.depth, self.heads or size.heads

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        width, _, heads = self.dimensions
        if width % (2 * heads):
            raise ValueError(f"a width of {width} does not give {heads} heads an even width each")
        return self

    def misfit(self, shape: tuple[int, ...]) -> Misfit | None:
        """Positions that patches do not cover, or too narrow heads for so many axes."""
        grid, (width, _, heads) = shape[1:], self.dimensions
        if any(extent % self.patch_size for extent in grid):
            return Misfit(
                "patch_size",
                f"patches of {self.patch_size} do not cover a latent grid of {grid}",
                f"use a divisor of {math.gcd(*grid)}",
            )
        per_axis = 2 * len(grid)
        if width % per_axis or (self.rope and width // heads % per_axis):
            return Misfit(
                "width",
                f"{len(grid)} axes of positions do not share a width of {width} in {heads} heads evenly",
                f"let the width of a head be a multiple of {per_axis}",
            )
        return None
