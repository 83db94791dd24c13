"""What a codec offers that can code a long signal chunk by chunk."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from anycodec.torch.codecs.base import Codec
from anycodec.torch.layers.causal3d import Past
from anycodec.torch.quantizers import TokenGrids


class StreamingCodec(Codec):
    """A causal codec: consecutive chunks, coded in order, give what the whole gives.

    Each direction of each signal has a `Past` of its own, `{}` before the first chunk, that the calls
    update. Chunks are multiples of `stride`; they may differ in length.
    """

    @abstractmethod
    def encode_chunk(self, x: Tensor, past: Past) -> TokenGrids:
        """The next frames [B C T H W] -> their token grids [B *g]."""

    @abstractmethod
    def decode_chunk(self, tokens: TokenGrids, past: Past) -> Tensor:
        """The next token grids [B *g] -> their frames [B C T H W]."""
