"""The causal spatio-temporal autoencoder for video."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from anycodec.config.base import PositiveInt
from anycodec.config.codecs.base import AnyCodecSpec
from anycodec.config.quantizer import EmaSpec, QuantizerSpec


class Causal3dSpec(AnyCodecSpec):
    """Causal 3-D convolutional autoencoder of clips, after MAGVIT-v2 (Yu et al. 2023, arXiv 2310.05737).

    A token covers 4 frames of 8 x 8 pixels with the defaults. No layer looks into the future, so
    videos of any length are coded chunk by chunk.
    """

    type: Literal["causal3d"] = "causal3d"
    base_channels: int = Field(64, ge=1, description="width after the first convolution")
    stem_stride: int = Field(
        1,
        ge=1,
        description="downsampling in space of the first convolution (and upsampling of the last)",
    )
    channels: tuple[PositiveInt, ...] = Field(
        (64, 128, 256), min_length=1, description="width of each encoder stage; the decoder mirrors it"
    )
    time_strides: tuple[PositiveInt, ...] = Field(
        (1, 2, 2), min_length=1, description="downsampling in time at the end of each stage"
    )
    space_strides: tuple[PositiveInt, ...] = Field(
        (2, 2, 2), min_length=1, description="downsampling in height and width at the end of each stage"
    )
    res_blocks: int = Field(2, ge=0, description="residual blocks a stage")
    mid_blocks: int = Field(2, ge=0, description="residual blocks between the stages and the latent")
    latent_channels: int = Field(64, ge=1, description="width of the latent that is quantised")
    norm_groups: int = Field(
        8, ge=1, description="groups of the GroupNorm of each frame; lowered where they don't divide"
    )
    patch_skip: bool = Field(
        False,
        description="a linear path around encoder and decoder: the untrained codec is VQ of raw patches",
    )
    differences: bool = Field(
        False,
        description="code what the latents of a token frame add to those restored for the one before: what "
        "stands still is refined from frame to frame, or costs next to nothing",
    )
    quantizer: QuantizerSpec = Field(default_factory=EmaSpec, description="how latents become codes")

    @model_validator(mode="after")
    def _aligned(self) -> Causal3dSpec:
        stages = len(self.channels), len(self.time_strides), len(self.space_strides)
        if len(set(stages)) > 1:
            raise ValueError(
                "channels has {} stages, time_strides {} and space_strides {}: "
                "give all three the same number of entries".format(*stages)
            )
        return self

    @property
    def axes(self) -> str:
        return "THW"

    @property
    def stride(self) -> tuple[int, ...]:
        """Frames, rows and columns a token."""
        space = self.stem_stride * math.prod(self.space_strides)
        return (math.prod(self.time_strides), space, space)
