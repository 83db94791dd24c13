"""The 2-D autoencoder of taming-transformers' VQGAN."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.codecs.autoencoder2d import Autoencoder2dSpec
from anycodec.config.quantizer import EmaSpec, QuantizerSpec


class VqganSpec(Autoencoder2dSpec):
    """2-D autoencoder of VQGAN (arXiv 2012.09841) around any quantizer.

    The published one is base_channels 128, channel_multipliers (1, 1, 2, 2, 4), attention_levels (4,),
    latent_channels 256 and vq with 1024 codes; dome272's of the same name differs in `backbone` only.
    """

    type: Literal["vqgan"] = "vqgan"
    patch_skip: bool = Field(
        False,
        description="a linear path around encoder and decoder: the untrained codec is VQ of raw patches",
    )
    quantizer: QuantizerSpec = Field(default_factory=EmaSpec, description="how latents become codes")
