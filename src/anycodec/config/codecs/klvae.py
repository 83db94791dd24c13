"""The variational autoencoder of latent diffusion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.codecs.autoencoder2d import Autoencoder2dSpec
from anycodec.config.quantizer import KlSpec


class KlVaeSpec(Autoencoder2dSpec):
    """2-D autoencoder with continuous latents for generators (arXiv 2112.10752); gives no tokens.

    VA-VAE's f16d32 (arXiv 2501.01423) is base_channels 128, channel_multipliers (1, 1, 2, 2, 4),
    attention_levels (4,) and latent_channels 32.
    """

    type: Literal["klvae"] = "klvae"
    latent_channels: int = Field(
        32,
        ge=1,
        description="channels of the decoder's input, z; the encoder's "
        "output has twice as many, for means and variances",
    )
    embed_channels: int | None = Field(None, ge=1, description="width of the latents; null = latent_channels")
    label_channels: int | None = Field(
        None,
        ge=1,
        description="width of an embedding of the class (its folder) that is added to what the encoder "
        "gives and the decoder gets, e.g. 128; null = classes don't matter",
    )
    label_dropout: float = Field(
        0.1, ge=0, lt=1, description="share of the labels that training hides, so that none is needed later"
    )
    quantizer: KlSpec = Field(default_factory=KlSpec, description="the variational bottleneck")
