"""Trellis-coded scalar quantisation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.base import Spec


class TrellisSpec(Spec):
    """Each sample in even steps, whose sequence follows a trellis (Marcellin and Fischer 1990)."""

    type: Literal["trellis"] = "trellis"
    step: float = Field(
        0.1, gt=0, description="distance of neighbouring codes in normalised units; sets the rate"
    )
    codebook_size: int = Field(
        1024,
        ge=8,
        le=65536,
        multiple_of=8,
        description="codes; what is farther from 0 than half of them is cut",
    )
    states: Literal[4, 8, 16, 32] = Field(8, description="states of the trellis")
    rate_weight: float = Field(
        0.4,
        ge=0,
        description="what a nat costs, in squared steps: codes near what the samples before foretell are "
        "preferred; 0 = the nearest sequence",
    )

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level."""
        return (self.codebook_size,)
