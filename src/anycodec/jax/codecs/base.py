"""The contract of a codec: windows in, tokens and windows out, with the layout of torch's at the border.

Windows are [B C T] outside; inside, activations are [B T C].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from anycodec.jax.layers.patch import PatchPath
from anycodec.jax.quantizers.base import Quantized, Quantizer, TokenGrids


class CodecOutput(NamedTuple):
    """What a codec makes of normalised windows.

    Attributes:
        reconstruction: [B C T] float32.
        tokens: one int32 grid [B T'] a level; () where latents stay continuous.
        losses: weighted scalar terms by name (commitment, codebook, ...).
        stats: scalars to watch (perplexity, codes_used, ...).
    """

    reconstruction: jax.Array
    tokens: TokenGrids
    losses: Mapping[str, jax.Array]
    stats: Mapping[str, jax.Array]


class Codec(nnx.Module, ABC):
    """Encoder, quantizer and decoder of windows [B C T]; T is a multiple of `stride`.

    A call with `train` changes state: parameters too, where dead codes of a learned codebook restart.
    """

    stride: tuple[int, ...]
    """Samples that a token of the coarsest level covers."""

    @property
    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level; () where latents stay continuous: such a codec has no tokens to decode."""

    @abstractmethod
    def encode(self, x: jax.Array) -> TokenGrids:
        """Windows [B C T] -> token grids [B T'], with what is for encoding alone (a beam)."""

    @abstractmethod
    def decode(self, tokens: TokenGrids) -> jax.Array:
        """Token grids [B T'] -> windows [B C T]."""

    def start(self, batches: Iterable[NDArray[np.float32]]) -> None:
        """Prepare before the first training step, looking at as many batches [B C T] as needed."""

    @abstractmethod
    def __call__(self, x: jax.Array, *, train: bool) -> CodecOutput:
        """Encode, quantise and decode windows [B C T], with losses."""

    @abstractmethod
    def last_layer(self) -> str:
        """Name of the weight of the decoder's last convolution, where adversarial training compares."""

    def check_size(self, x: jax.Array) -> None:
        """Refuse windows [B C T] that are no whole number of tokens.

        Raises:
            ValueError: says which size, and what it should be a multiple of.
        """
        size = tuple(x.shape[2:])
        if len(size) != len(self.stride) or any(s % f for s, f in zip(size, self.stride, strict=True)):
            raise ValueError(f"a window of {size} is no multiple of the codec's stride {self.stride}")


class Autoencoder(Codec):
    """A codec of three parts: `encoder` to latents [B T' D], `quantizer`, `decoder` back.

    `patches`, where there is one, adds a linear path around encoder and decoder.
    """

    encoder: nnx.Module
    decoder: nnx.Module
    quantizer: Quantizer
    patches: PatchPath | None

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return self.quantizer.codebook_sizes

    def encode(self, x: jax.Array) -> TokenGrids:
        return self._quantize(x, train=False).tokens

    def decode(self, tokens: TokenGrids) -> jax.Array:
        return self._reconstruct(self.quantizer.lookup(tokens))

    def latents(self, x: jax.Array) -> jax.Array:
        """Windows [B C T] -> latents before quantisation [B T' D] float32."""
        self.check_size(x)
        x_BTC = x.swapaxes(1, 2)
        z: jax.Array = self.encoder(x_BTC)
        z = z.astype(jnp.float32)
        return z if self.patches is None else z + self.patches.analyse(x_BTC)

    def __call__(self, x: jax.Array, *, train: bool) -> CodecOutput:
        quantized = self._quantize(x, train=train)
        return CodecOutput(
            self._reconstruct(quantized.values), quantized.tokens, quantized.losses, quantized.stats
        )

    def start(self, batches: Iterable[NDArray[np.float32]]) -> None:
        """Give the quantizer the latents that it wants to start from."""
        wanted, taken = self.quantizer.latents_wanted, 0
        latents: list[jax.Array] = []
        to_latents = nnx.jit(lambda codec, x: codec.latents(x))
        for x in batches if wanted else ():
            z = to_latents(self, jnp.asarray(x))
            latents.append(z.reshape(-1, z.shape[-1]))
            taken += len(latents[-1])
            if taken >= wanted:
                break
        if latents:
            self.quantizer.start(jnp.concatenate(latents))

    def _quantize(self, x: jax.Array, *, train: bool) -> Quantized:
        return self.quantizer(self.latents(x), train=train)

    def _reconstruct(self, z_BTD: jax.Array) -> jax.Array:
        x: jax.Array = self.decoder(z_BTD)
        x = x.astype(jnp.float32)
        return (x if self.patches is None else x + self.patches.synthesise(z_BTD)).swapaxes(1, 2)
