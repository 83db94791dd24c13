"""VQ-VAE-2, an autoencoder with several levels of tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from anycodec.config.codecs.base import AnyCodecSpec
from anycodec.config.quantizer import EmaSpec, GroupedSpec, ResidualSpec
from anycodec.config.quantizers.single import AnySingle

LevelQuantizer = Annotated[AnySingle | ResidualSpec | GroupedSpec, Field(discriminator="type")]
"""A quantizer with tokens."""
Rate = Literal[2, 4, 8, 16, 32]


class Vqvae2Spec(AnyCodecSpec):
    """Hierarchical 2-D autoencoder of VQ-VAE-2 (Razavi et al. 2019, arXiv 1906.00446).

    Level 0 is the finest, in settings, tokens and figures alike. vvvm23's is hidden_channels 128,
    res_channels 64 and rates (4, 2), or res_channels 32 and rates (8, 4, 2).
    """

    type: Literal["vqvae2"] = "vqvae2"
    rates: tuple[Rate, ...] = Field(
        (4, 2),
        min_length=1,
        description="downsampling from the picture to level 0, from level 0 to level 1, ...; "
        "as many levels as rates",
    )
    hidden_channels: int = Field(128, ge=2, description="width of the networks, even")
    res_channels: int = Field(64, ge=1, description="width inside residual blocks")
    res_blocks: int = Field(2, ge=0, description="residual blocks of each encoder and of each decoder")
    latent_channels: int = Field(64, ge=1, description="width of the latents that are quantised")
    level_quantizers: tuple[LevelQuantizer, ...] | None = Field(
        None, description="a quantizer for each level, the finest first; null = `quantizer` for all"
    )
    quantizer: LevelQuantizer = Field(
        default_factory=EmaSpec, description="how a level's latents become codes"
    )

    @model_validator(mode="after")
    def _even(self) -> Vqvae2Spec:
        if self.hidden_channels % 2:
            raise ValueError(
                f"hidden_channels {self.hidden_channels} is odd: the outer layers have half as many; "
                f"use {self.hidden_channels + 1}"
            )
        return self

    @model_validator(mode="after")
    def _a_quantizer_a_level(self) -> Vqvae2Spec:
        given = self.level_quantizers
        if given is not None and len(given) != len(self.rates):
            raise ValueError(
                f"level_quantizers has {len(given)} entries and rates {len(self.rates)}: "
                "give one quantizer a level, or null for the same everywhere"
            )
        return self

    @property
    def quantizers(self) -> tuple[LevelQuantizer, ...]:
        """The quantizer of each level, the finest first."""
        return self.level_quantizers or (self.quantizer,) * len(self.rates)

    @property
    def axes(self) -> str:
        return "HW"

    @property
    def stride(self) -> tuple[int, ...]:
        """Pixels a token of the coarsest level along each spatial axis."""
        return self._strides[-1]

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes of each grid of tokens; a level has several where its quantizer has."""
        return tuple(size for quantizer in self.quantizers for size in quantizer.codebook_sizes)

    @property
    def token_strides(self) -> tuple[tuple[int, ...], ...]:
        levels = zip(self._strides, self.quantizers, strict=True)
        return tuple(stride for stride, quantizer in levels for _ in quantizer.codebook_sizes)

    @property
    def bottleneck(self) -> str:
        """The kinds of quantizers, the finest level's first."""
        kinds = [quantizer.type for quantizer in self.quantizers]
        return kinds[0] if len(set(kinds)) == 1 else ", ".join(kinds)

    @property
    def _strides(self) -> tuple[tuple[int, int], ...]:
        products: list[int] = []
        for rate in self.rates:
            products.append(rate * (products[-1] if products else 1))
        return tuple((product, product) for product in products)
