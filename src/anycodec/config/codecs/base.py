"""What every codec's spec says about its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from anycodec.config.base import Spec
from anycodec.config.quantizer import QuantizerSpec
from anycodec.config.quantizers.trellis import TrellisSpec


class AnyCodecSpec(Spec):
    """A codec's settings."""

    one_channel: ClassVar[bool] = False
    """Whether it takes windows of one channel only."""

    if TYPE_CHECKING:  # each codec declares it as its last field, with a default of its own
        quantizer: QuantizerSpec | TrellisSpec

    @property
    def stride(self) -> tuple[int, ...]:
        """What the extent of a window along each spatial axis must be a multiple of."""
        raise NotImplementedError

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level; () where latents stay continuous."""
        return self.quantizer.codebook_sizes

    @property
    def token_strides(self) -> tuple[tuple[int, ...], ...]:
        """Values along each spatial axis that a token of each level covers; latents where there are none."""
        return (self.stride,) * max(1, len(self.codebook_sizes))

    @property
    def trellis_states(self) -> int | None:
        """States of the trellis that each window's tokens follow, which are then numbers; or None."""
        return None

    @property
    def bottleneck(self) -> str:
        """The kind of quantizer, for people."""
        return self.quantizer.type
