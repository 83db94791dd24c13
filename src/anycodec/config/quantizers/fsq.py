"""Finite scalar quantisation."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from anycodec.config.base import Spec

MOST_CODES = 2**24

LevelCount = Annotated[int, Field(ge=2)]


class FsqSpec(Spec):
    """Each of a few channels rounded to a few levels; no codebook (FSQ, arXiv 2309.15505).

    The paper's levels for about 2^8, 2^10, 2^12, 2^14 and 2^16 codes are (8, 6, 5), (8, 5, 5, 5),
    (7, 5, 5, 5, 5), (8, 8, 8, 6, 5) and (8, 8, 8, 5, 5, 5).
    """

    type: Literal["fsq"] = "fsq"
    levels: tuple[LevelCount, ...] = Field(
        (8, 5, 5, 5), min_length=1, description="levels of each channel; their product is the codebook size"
    )
    bound: Literal["tanh", "clip"] = Field(
        "tanh", description="how latents come into the range of the levels, -1 to 1"
    )
    symmetric: bool = Field(
        False, description="levels from -1 to 1 also where their number is even, which then lack 0"
    )

    entropy_weight: float = Field(
        0.05,
        ge=0,
        description="weight of -H(code), which keeps all codes in use, with each channel softly in its "
        "neighbouring levels; 0 = off, as published",
    )

    @model_validator(mode="after")
    def _countable(self) -> FsqSpec:
        if self.codebook_size > MOST_CODES:
            raise ValueError(f"levels {self.levels} make {self.codebook_size} codes, at most {MOST_CODES}")
        return self

    @property
    def codebook_size(self) -> int:
        return math.prod(self.levels)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level."""
        return (self.codebook_size,)

    @property
    def code_dim(self) -> int:
        """Channels of a code."""
        return len(self.levels)
