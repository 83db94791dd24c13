"""Lookup-free quantisation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from anycodec.config.base import Spec


class LfqSpec(Spec):
    """Each of log2(codebook_size) channels to its sign (LFQ, arXiv 2310.05737), or on the sphere (BSQ)."""

    type: Literal["lfq"] = "lfq"
    codebook_size: int = Field(1024, ge=2, le=2**24, description="number of codes, a power of two")
    spherical: bool = Field(
        False, description="latents and codes on the unit sphere: binary spherical quantisation (2406.07548)"
    )
    beta: float = Field(0.25, ge=0, description="weight of the commitment term |z - sg(q)|^2")
    entropy_weight: float = Field(
        0.1, ge=0, description="weight of the entropy term: H(code of a latent) - diversity H(code)"
    )
    diversity: float = Field(1.0, ge=0, description="weight of the codes' entropy over a batch in that term")
    inverse_temperature: float = Field(
        100.0, gt=0, description="sharpness of the soft assignment that entropies are taken of"
    )

    @field_validator("codebook_size")
    @classmethod
    def _power_of_two(cls, size: int) -> int:
        if size & (size - 1):
            below = 1 << (size.bit_length() - 1)
            raise ValueError(f"{size} is no power of two: use {below} or {2 * below}")
        return size

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level."""
        return (self.codebook_size,)

    @property
    def code_dim(self) -> int:
        """Channels of a code, one a bit."""
        return self.codebook_size.bit_length() - 1
