"""The U-Net of latent diffusion."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from anycodec.config.base import PositiveInt
from anycodec.config.generators.base import AnyGeneratorSpec
from anycodec.config.losses.base import Misfit


class UnetSpec(AnyGeneratorSpec):
    """diffusers' UNet2DModel: residual blocks at several resolutions with skips (arXiv 2006.11239).

    Latents of pictures, of any size: they are padded to a multiple of the U-Net's down-sampling inside.
    """

    type: Literal["unet"] = "unet"
    channels: tuple[PositiveInt, ...] = Field(
        (64, 128, 128), min_length=1, description="width of each resolution; each next one has half the size"
    )
    res_blocks: int = Field(2, ge=1, description="residual blocks a resolution")
    attention_levels: tuple[int, ...] = Field(
        (1, 2), description="resolutions (0 = the latents' own) with self-attention after each residual block"
    )
    head_width: int = Field(32, ge=1, description="channels of an attention head")
    norm_groups: int = Field(32, ge=1, description="groups of GroupNorm; lowered where they don't divide")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout inside residual blocks")

    @model_validator(mode="after")
    def _levels_exist(self) -> Self:
        wrong = [i for i in self.attention_levels if not 0 <= i < len(self.channels)]
        if wrong:
            raise ValueError(
                f"attention_levels {wrong} do not exist: channels has {len(self.channels)} levels, "
                f"0 to {len(self.channels) - 1}"
            )
        return self

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        """The bottleneck, as wide as the last level, has attention too."""
        attended = {self.channels[i] for i in self.attention_levels} | {self.channels[-1]}
        wrong = sorted(width for width in attended if width % self.head_width)
        if wrong:
            raise ValueError(
                f"channels {wrong} are no multiple of head_width {self.head_width}: "
                f"use a divisor of {math.gcd(*attended)}"
            )
        return self

    @property
    def factor(self) -> int:
        """Down-sampling from the latents to the bottleneck."""
        factor: int = 2 ** (len(self.channels) - 1)
        return factor

    def misfit(self, shape: tuple[int, ...]) -> Misfit | None:
        """Latents that are no pictures, or smaller than a position of the bottleneck."""
        grid = shape[1:]
        if len(grid) != 2:
            return Misfit(
                "type",
                f"a U-Net works on latents of pictures, with 2 axes; these have {len(grid)}: {grid}",
                "use `type: dit`, which takes any number of axes",
            )
        if self.factor > min(grid):
            most = min(grid).bit_length()
            return Misfit(
                "channels",
                f"{len(self.channels)} resolutions halve a latent grid of {grid} to less than one position",
                f"give at most {most} channels",
            )
        return None
