"""What the 2-D convolutional autoencoders can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from anycodec.config.base import PositiveInt
from anycodec.config.codecs.base import AnyCodecSpec


class Autoencoder2dSpec(AnyCodecSpec):
    """Settings of an encoder and a decoder of residual blocks, as many levels as resolutions."""

    backbone: Literal["taming", "dome272"] = Field(
        "taming",
        description="layout of the decoder: dome272 narrows before each upsampling, so that no residual "
        "block works at full resolution",
    )
    patch_size: int = Field(
        1,
        ge=1,
        description="pixels a side that become channels of one position before the first convolution, and "
        "pixels again after the last: 4 spares the levels at which wide convolutions are slow",
    )
    base_channels: int = Field(128, ge=1, description="width at the finest level")
    channel_multipliers: tuple[PositiveInt | PositiveFloat, ...] = Field(
        (1, 1, 2, 2, 4),
        min_length=1,
        description="width of each level over base_channels; f = patch_size 2^(levels - 1)",
    )
    res_blocks: int = Field(2, ge=1, description="residual blocks a level")
    decoder_res_blocks: int | None = Field(
        None, ge=1, description="residual blocks a level of the decoder; null = res_blocks + 1"
    )
    attention_levels: tuple[int, ...] = Field(
        (4,), description="levels (0 = the finest) with self-attention after each residual block"
    )
    mid_attention: bool = Field(True, description="self-attention at the bottleneck")
    norm_groups: int = Field(32, ge=1, description="groups of GroupNorm; lowered where they don't divide")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout inside residual blocks")
    latent_channels: int = Field(256, ge=1, description="channels between the networks, z")
    embed_channels: int | None = Field(None, ge=1, description="width of the codes; null = latent_channels")

    @model_validator(mode="after")
    def _whole_widths(self) -> Autoencoder2dSpec:
        exact = (self.base_channels * multiplier for multiplier in self.channel_multipliers)
        pairs = zip(self.channel_multipliers, exact, self.widths, strict=True)
        broken = [m for m, value, width in pairs if width < 1 or abs(value - width) > 1e-3]
        if broken:
            raise ValueError(
                f"base_channels {self.base_channels} x channel_multipliers {broken} is no whole number: "
                "choose multipliers that give whole widths"
            )
        return self

    @model_validator(mode="after")
    def _levels_exist(self) -> Autoencoder2dSpec:
        wrong = [i for i in self.attention_levels if not 0 <= i < len(self.channel_multipliers)]
        if wrong:
            raise ValueError(
                f"attention_levels {wrong} do not exist: channel_multipliers has "
                f"{len(self.channel_multipliers)} levels, 0 to {len(self.channel_multipliers) - 1}"
            )
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from the finest on."""
        return tuple(round(self.base_channels * multiplier) for multiplier in self.channel_multipliers)

    @property
    def code_channels(self) -> int:
        """D, the width of the codes or latents."""
        return self.embed_channels or self.latent_channels

    @property
    def axes(self) -> str:
        return "HW"

    @property
    def stride(self) -> tuple[int, ...]:
        """Pixels a token along each spatial axis."""
        factor: int = self.patch_size * 2 ** (len(self.channel_multipliers) - 1)
        return (factor, factor)
