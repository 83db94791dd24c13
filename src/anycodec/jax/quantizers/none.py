"""No quantisation: the ablation that shows what a quantizer costs."""

from __future__ import annotations

import jax
from numpy.random import Generator

from anycodec.config.quantizer import NoneSpec
from anycodec.jax.quantizers.base import Quantized, Quantizer, TokenGrids


class Identity(Quantizer):
    """Latents as they are."""

    def __init__(self, spec: NoneSpec, dim: int, rng: Generator) -> None:
        pass

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return ()

    def __call__(self, z: jax.Array, *, train: bool) -> Quantized:
        return Quantized(z, (), {}, {})

    def lookup(self, tokens: TokenGrids) -> jax.Array:
        """Not possible.

        Raises:
            TypeError: always.
        """
        raise TypeError("continuous latents have no tokens to look up")
