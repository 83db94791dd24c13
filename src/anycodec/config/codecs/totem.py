"""TOTEM's autoencoder of time series."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from anycodec.config.codecs.base import AnyCodecSpec
from anycodec.config.quantizer import EmaSpec, QuantizerSpec


class TotemSpec(AnyCodecSpec):
    """1-D autoencoder of TOTEM (arXiv 2402.16412) around any quantizer.

    The published one is hidden_channels 128, res_channels 64, latent_channels 64 and vq with 256 codes,
    kmeans_init false and restart_after 0, on data.normalizer revin; the patch variant of it has
    hidden_channels 64, res_channels 32, latent_channels 32 and patch 16.
    """

    type: Literal["totem"] = "totem"
    compression_factor: Literal[4, 8, 12, 16] = Field(4, description="samples a token")
    patch: int | None = Field(
        None,
        ge=1,
        description="samples that are coded without a look at their neighbours; null = the whole window",
    )
    hidden_channels: int = Field(64, ge=2, description="width of the networks, even")
    res_channels: int = Field(32, ge=1, description="width inside residual layers")
    res_layers: int = Field(2, ge=0, description="residual layers of the encoder, and of the decoder")
    latent_channels: int = Field(32, ge=1, description="width of a channel's latent that is quantised")
    per_channel: bool = Field(
        False,
        description="where data.channels is joint: one network for each channel alone, its latents side by "
        "side; a grouped quantizer with as many groups then has a codebook a channel",
    )
    affine: bool = Field(
        False, description="a learned gain and offset of each channel around the networks (RevIN's affine)"
    )
    patch_skip: bool = Field(
        False,
        description="a linear path around encoder and decoder: the untrained codec is VQ of raw patches",
    )
    quantizer: QuantizerSpec = Field(default_factory=EmaSpec, description="how latents become codes")

    @model_validator(mode="after")
    def _even(self) -> TotemSpec:
        if self.hidden_channels % 2:
            raise ValueError(
                f"hidden_channels {self.hidden_channels} is odd: the first layer has half as many; "
                f"use {self.hidden_channels + 1}"
            )
        return self

    @model_validator(mode="after")
    def _whole_tokens(self) -> TotemSpec:
        factor = self.compression_factor
        if self.patch is not None and self.patch % factor:
            upper = (self.patch // factor + 1) * factor
            raise ValueError(
                f"compression_factor {factor} does not divide patch {self.patch}: use a patch of {upper}, "
                "or another factor"
            )
        return self

    @property
    def axes(self) -> str:
        return "T"

    @property
    def stride(self) -> tuple[int, ...]:
        """What the length of a window must be a multiple of: a patch, or a token."""
        return (self.patch or self.compression_factor,)

    @property
    def token_strides(self) -> tuple[tuple[int, ...], ...]:
        return ((self.compression_factor,),) * max(1, len(self.codebook_sizes))
