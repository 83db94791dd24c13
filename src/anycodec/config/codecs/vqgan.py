"""The 2-D autoencoder of taming-transformers' VQGAN."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from anycodec.config.base import PositiveInt, Spec
from anycodec.config.quantizer import EmaSpec, QuantizerSpec


class VqganSpec(Spec):
    """2-D autoencoder of taming-transformers' VQGAN (arXiv 2012.09841; facts/vision.md)."""

    type: Literal["vqgan"] = "vqgan"
    base_channels: int = Field(128, ge=1, description="width at full resolution")
    channel_multipliers: tuple[PositiveInt, ...] = Field(
        (1, 1, 2, 2, 4),
        min_length=1,
        description="width of each level over base_channels; f = 2^(levels - 1)",
    )
    res_blocks: int = Field(2, ge=1, description="residual blocks a level (the decoder has one more)")
    attention_levels: tuple[int, ...] = Field(
        (4,), description="levels (0 = full resolution) with self-attention after each residual block"
    )
    mid_attention: bool = Field(True, description="self-attention at the bottleneck")
    latent_channels: int = Field(256, ge=1, description="channels of the encoder's output, z")
    embed_channels: int | None = Field(None, ge=1, description="width of the codes; null = latent_channels")
    norm_groups: int = Field(32, ge=1, description="groups of GroupNorm; lowered where they don't divide")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout inside residual blocks")
    patch_skip: bool = Field(
        False,
        description="a linear path around encoder and decoder: the untrained codec is VQ of raw patches",
    )
    quantizer: QuantizerSpec = Field(default_factory=EmaSpec, description="how latents become codes")

    @model_validator(mode="after")
    def _levels_exist(self) -> VqganSpec:
        wrong = [i for i in self.attention_levels if not 0 <= i < len(self.channel_multipliers)]
        if wrong:
            raise ValueError(
                f"attention_levels {wrong} do not exist: channel_multipliers has "
                f"{len(self.channel_multipliers)} levels, 0 to {len(self.channel_multipliers) - 1}"
            )
        return self

    @property
    def axes(self) -> str:
        return "HW"

    @property
    def stride(self) -> tuple[int, ...]:
        """Pixels a token along each spatial axis."""
        factor: int = 2 ** (len(self.channel_multipliers) - 1)
        return (factor, factor)
