"""Grouped (multi-head) quantisation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from anycodec.config.base import Spec
from anycodec.config.quantizers.ema import EmaSpec
from anycodec.config.quantizers.residual import ResidualSpec
from anycodec.config.quantizers.single import AnySingle


class GroupedSpec(Spec):
    """The channels of a latent in groups of equal width, each with its own quantizer (product VQ)."""

    type: Literal["grouped"] = "grouped"
    groups: int = Field(2, ge=1, le=64, description="groups; they must divide the width of the latent")
    quantizer: Annotated[AnySingle | ResidualSpec, Field(discriminator="type")] = Field(
        default_factory=EmaSpec, description="the quantizer of a group"
    )

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level, group by group."""
        return self.quantizer.codebook_sizes * self.groups
