"""Specs of the codecs. `type` names the module in `anycodec/torch/codecs/`.

A spec knows, without any framework, what its codec does to a window: which axes it takes, the
stride of its token grid and the number of levels, so that cross-field mistakes are found before
data is read.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from anycodec.config.base import Spec
from anycodec.config.quantizer import EmaSpec, QuantizerSpec, SimVqSpec

PositiveInt = Annotated[int, Field(ge=1)]


class SimVqganSpec(Spec):
    """1-D residual convolutional autoencoder (the nanopore system's; facts/nanopore.md).

    That system is base_channels 128, channels (128, 256, 256, 512), strides (4, 4, 4, 3),
    latent_channels 128, norm_groups 32, output_activation tanh and simvq with 4096 codes. On CPU a
    step with 8 groups takes a quarter less time in bf16 than with 32, and a stem_stride of 4 takes a
    quarter of the time of strides alone.
    """

    type: Literal["simvqgan"] = "simvqgan"
    base_channels: int = Field(64, ge=1, description="width after the first convolution")
    stem_stride: int = Field(
        1, ge=1, description="downsampling of the first convolution (and upsampling of the last)"
    )
    channels: tuple[PositiveInt, ...] = Field(
        (64, 128, 128), min_length=1, description="width of each encoder stage; the decoder mirrors it"
    )
    strides: tuple[PositiveInt, ...] = Field(
        (2, 2, 3), min_length=1, description="downsampling at the end of each stage, as many as channels"
    )
    res_blocks: int = Field(2, ge=0, description="residual blocks a stage")
    mid_blocks: int = Field(2, ge=0, description="residual blocks between the stages and the latent")
    latent_channels: int = Field(64, ge=1, description="width of the latent that is quantised")
    norm_groups: int = Field(8, ge=1, description="groups of GroupNorm; lowered where they don't divide")
    patch_skip: bool = Field(
        False,
        description="a linear path around encoder and decoder: the untrained codec is VQ of raw patches",
    )
    output_activation: Literal["none", "tanh"] = Field(
        "none", description="tanh only where data is normalised into [-1, 1]"
    )
    quantizer: QuantizerSpec = Field(default_factory=SimVqSpec, description="how latents become codes")

    @model_validator(mode="after")
    def _aligned(self) -> SimVqganSpec:
        if len(self.channels) != len(self.strides):
            raise ValueError(
                f"channels has {len(self.channels)} stages and strides {len(self.strides)}: "
                "give both the same number of entries"
            )
        return self

    @property
    def axes(self) -> str:
        return "T"

    @property
    def stride(self) -> tuple[int, ...]:
        """Samples a token along each spatial axis."""
        return (self.stem_stride * math.prod(self.strides),)


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


CodecSpec = Annotated[SimVqganSpec | VqganSpec, Field(discriminator="type")]
