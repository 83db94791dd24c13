"""The masked-token transformer."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from anycodec.config.generators.base import AnyGeneratorSpec
from anycodec.config.losses.base import Misfit


class TokensSpec(AnyGeneratorSpec):
    """MaskGIT (arXiv 2202.04200): a transformer that sees some tokens of a grid and predicts the others.

    Token grids of any number of axes. Several levels come from coarse to fine, each conditioned on the
    coarser ones, as SoundStorm (arXiv 2305.09636) does with residual stages.
    """

    takes: ClassVar = "tokens"

    type: Literal["tokens"] = "tokens"
    width: int = Field(192, ge=4, description="width of a token")
    depth: int = Field(6, ge=1, description="blocks")
    heads: int = Field(3, ge=1, description="attention heads")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout after attention and MLP of each block")
    confidence_noise: float = Field(
        4.5,
        ge=0,
        description="Gumbel noise on the confidence that decides which drawn tokens stay, falling to 0 over "
        "the steps; much = in random order, 0 = the most likely first, which costs diversity",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"a width of {self.width} does not give {self.heads} heads an even width each")
        return self

    def misfit(self, shape: tuple[int, ...]) -> Misfit | None:
        """Heads too narrow for the positions of so many axes."""
        per_axis = 2 * len(shape)
        if self.width // self.heads % per_axis:
            return Misfit(
                "width",
                f"{len(shape)} axes of positions do not share a width of {self.width} in {self.heads} heads "
                "evenly",
                f"let the width of a head be a multiple of {per_axis}",
            )
        return None
