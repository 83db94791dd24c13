"""What bottlenecks without tokens share."""

from __future__ import annotations

from torch import Tensor

from anycodec.torch.quantizers.base import Quantizer, TokenGrids


class ContinuousQuantizer(Quantizer):
    """Latents stay continuous: no levels, no tokens, nothing to look up."""

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return ()

    def lookup(self, tokens: TokenGrids) -> Tensor:
        """Not possible.

        Raises:
            TypeError: always.
        """
        raise TypeError("continuous latents have no tokens to look up")
