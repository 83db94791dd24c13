"""The 1-D residual convolutional autoencoder."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from anycodec.config.base import PositiveInt
from anycodec.config.codecs.base import AnyCodecSpec
from anycodec.config.quantizer import QuantizerSpec, SimVqSpec


class SimVqganSpec(AnyCodecSpec):
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
                f"channels has {len(self.channels)} stages and strides {len(self.strides)}, "
                f"{list(self.channels)} and {list(self.strides)}: give both the same number of entries, "
                "which the decoder mirrors"
            )
        return self

    @property
    def axes(self) -> str:
        return "T"

    @property
    def stride(self) -> tuple[int, ...]:
        """Samples a token along each spatial axis."""
        return (self.stem_stride * math.prod(self.strides),)
