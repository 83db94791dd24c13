"""The 2-D autoencoder of DALL-E."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.codecs.base import AnyCodecSpec
from anycodec.config.quantizer import EmaSpec, QuantizerSpec


class DvaeSpec(AnyCodecSpec):
    """2-D autoencoder of DALL-E's discrete VAE (Ramesh et al. 2021, arXiv 2102.12092) around any quantizer.

    The video system's is base_channels 256 (its `n_hid`), res_blocks 2 (`n_blk_per_group`), latent_channels
    128 (`n_init`) and ema with 4096 or 8192 codes.
    """

    type: Literal["dvae"] = "dvae"
    group_count: int = Field(4, ge=1, le=12, description="groups of blocks; f = 2^(group_count - 1)")
    base_channels: int = Field(
        64, ge=4, description="width of the first group, at full resolution; group g has g times that"
    )
    res_blocks: int = Field(2, ge=1, description="residual blocks a group")
    latent_channels: int = Field(128, ge=1, description="width of the latent that is quantised")
    patch_skip: bool = Field(
        False,
        description="a linear path around encoder and decoder: the untrained codec is VQ of raw patches",
    )
    quantizer: QuantizerSpec = Field(default_factory=EmaSpec, description="how latents become codes")

    @property
    def axes(self) -> str:
        return "HW"

    @property
    def stride(self) -> tuple[int, ...]:
        """Pixels a token along each spatial axis."""
        factor: int = 2 ** (self.group_count - 1)
        return (factor, factor)
