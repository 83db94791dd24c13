"""Trellis-coded samples and a network that restores what the steps took away."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from anycodec.config.codecs.base import AnyCodecSpec
from anycodec.config.quantizers.trellis import TrellisSpec


class TrellisCodecSpec(AnyCodecSpec):
    """1-D codec without an encoder: every sample a token, in steps on a trellis; a network smooths them.

    For signals whose noise must survive to some degree (1.5 to 3 bits a sample), where vectors of samples
    would need codebooks too large to learn. Its tokens are whole numbers that the file's coder foretells from
    the samples before, so they cost far less than log2(codebook_size) bits.
    """

    one_channel: ClassVar[bool] = True

    type: Literal["trellis"] = "trellis"
    fold: int = Field(4, ge=1, description="samples that the network looks at as channels of one place")
    channels: int = Field(96, ge=1, description="width of the network")
    blocks: int = Field(4, ge=0, description="residual blocks of the network")
    kernel: int = Field(5, ge=1, description="extent of its convolutions, in places")
    quantizer: TrellisSpec = Field(default_factory=TrellisSpec, description="steps and trellis")

    @property
    def axes(self) -> str:
        return "T"

    @property
    def stride(self) -> tuple[int, ...]:
        """What the length of a window must be a multiple of."""
        return (self.fold,)

    @property
    def token_strides(self) -> tuple[tuple[int, ...], ...]:
        return ((1,),)

    @property
    def trellis_states(self) -> int | None:
        return self.quantizer.states
