"""Tokens of samples on a trellis <-> bytes: token streams of mode 66.

In a state of the trellis every second number is allowed; the model is asked for what lies between the middles
of those. FORMAT.md is the specification.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream import foretelling
from anycodec.bitstream.fields import Damaged
from anycodec.trellis import transitions

LARGEST_CODEBOOK = 2**16


class TrellisCoder:
    """Codes the tokens of windows on a trellis.

    Args:
        states: of the trellis.
        codebook_size: K; token k stands for the number k - K / 2.

    Raises:
        ValueError: there is no such trellis, or K is no multiple of 8 or above 2^16.
    """

    def __init__(self, states: int, codebook_size: int) -> None:
        if codebook_size % 8 or not 0 < codebook_size <= LARGEST_CODEBOOK:
            raise ValueError(
                f"{codebook_size} codes on a trellis: there may be multiples of 8 up to {LARGEST_CODEBOOK}"
            )
        self._following = transitions(states)
        self._size = codebook_size

    def encode(self, tokens: NDArray[np.int64], window: int) -> bytes | None:
        """Code tokens [n] of windows of so many; None where they are not on the trellis."""
        if not foretelling.on_trellis(tokens, window, self._following):
            return None
        model = foretelling.new_model(len(tokens))
        words = foretelling.encode(tokens, window, self._following, self._size, model)
        return words.astype("<u4").tobytes()

    def decode(self, body: bytes, n: int, window: int) -> NDArray[np.int64]:
        """The n tokens of a stream.

        Raises:
            Damaged: not such a stream.
        """
        if len(body) % 4:
            raise Damaged("a token stream that is not made of 32-bit words")
        words = np.frombuffer(body, "<u4").astype(np.uint32)
        model = foretelling.new_model(n)
        tokens, whole = foretelling.decode(words, window, self._following, self._size, model)
        if not whole:
            raise Damaged("a token stream that no encoder writes")
        return tokens
