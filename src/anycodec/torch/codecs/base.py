"""The contract of a codec: windows in, tokens and windows out, the same verbs as a quantizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from anycodec.torch.layers.patch import PatchPath, zero_
from anycodec.torch.quantizers import Quantized, Quantizer, TokenGrids


@dataclass(frozen=True, slots=True)
class CodecOutput:
    """What a codec makes of normalised windows.

    Attributes:
        reconstruction: [B C *s], shaped like the input.
        tokens: one int64 grid [B *g] a level; () where latents stay continuous.
        losses: weighted scalar terms by name (commitment, codebook, ...).
        stats: scalars to watch (perplexity, codes_used, ...).
        latents: what the decoder saw [B D *g], None where it is no single grid.
    """

    reconstruction: Tensor
    tokens: TokenGrids
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    stats: Mapping[str, Tensor] = field(default_factory=dict)
    latents: Tensor | None = None


class Codec(nn.Module, ABC):
    """Encoder, quantizer and decoder of windows [B C *s]; *s is a multiple of `stride`."""

    stride: tuple[int, ...]
    """Values of each of *s that a token of the coarsest level covers."""

    @property
    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level; () where latents stay continuous: such a codec has no tokens to decode."""

    @abstractmethod
    def encode(self, x: Tensor) -> TokenGrids:
        """Windows [B C *s] -> token grids [B *g]."""

    @abstractmethod
    def decode(self, tokens: TokenGrids) -> Tensor:
        """Token grids [B *g] -> windows [B C *s]."""

    @abstractmethod
    def latents(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Windows [B C *s] -> what the decoder sees [B D *g]: the codes, or the mode of a distribution.

        In evaluation mode; in training mode, a distribution gives a sample. Codecs that know classes
        look at labels [B].
        """

    @abstractmethod
    def decode_latents(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """What `latents` gives, or a generator made [B D *g] -> windows [B C *s]; labels as there."""

    def start(self, windows: Iterable[Tensor]) -> None:
        """Prepare before the first training step, looking at as many training windows as needed."""

    @abstractmethod
    def forward(self, x: Tensor) -> CodecOutput:
        """Encode, quantise and decode, with losses."""

    @abstractmethod
    def last_layer(self) -> Tensor:
        """Weight of the decoder's last convolution, where adversarial training compares gradients."""

    def check_size(self, x: Tensor) -> None:
        """Refuse windows [B C *s] that are no whole number of tokens.

        Raises:
            ValueError: says which size, and what it should be a multiple of.
        """
        size = tuple(x.shape[2:])
        if len(size) != len(self.stride) or any(s % f for s, f in zip(size, self.stride, strict=True)):
            raise ValueError(f"a window of {size} is no multiple of the codec's stride {self.stride}")


class Autoencoder(Codec):
    """A codec of three parts: `encoder` to latents [B D *g], `quantizer`, `decoder` back.

    `patches`, where there is one, adds a linear path around encoder and decoder.
    """

    encoder: nn.Module
    decoder: nn.Module
    quantizer: Quantizer
    patches: PatchPath | None

    def __init__(self) -> None:
        super().__init__()
        self.patches = None

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return self.quantizer.codebook_sizes

    def encode(self, x: Tensor) -> TokenGrids:
        return self._quantize(x).tokens

    def decode(self, tokens: TokenGrids) -> Tensor:
        return self._reconstruct(self.quantizer.lookup(tokens))

    def latents(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._quantize(x).values

    def decode_latents(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._reconstruct(z)

    def forward(self, x: Tensor) -> CodecOutput:
        quantized = self._quantize(x)
        return CodecOutput(
            self._reconstruct(quantized.values),
            quantized.tokens,
            quantized.losses,
            quantized.stats,
            quantized.values,
        )

    @torch.no_grad()
    def start(self, windows: Iterable[Tensor]) -> None:
        """Give the quantizer the latents that it wants to start from."""
        wanted, taken = self.quantizer.latents_wanted, 0
        latents: list[Tensor] = []
        for x in windows if wanted else ():
            z = self._to_quantize(x).movedim(1, -1).flatten(0, -2).float()
            latents.append(z)
            taken += len(z)
            if taken >= wanted:
                break
        if latents:
            self.quantizer.start(torch.cat(latents))

    def _start_with(self, patches: PatchPath, *last: nn.Module) -> None:
        """Add the linear path; the last layers of encoder and decoder start at zero, so that it is alone."""
        self.patches = patches
        for layer in last:
            zero_(layer)

    def _latents(self, x: Tensor) -> Tensor:
        z: Tensor = self.encoder(x)
        return z if self.patches is None else z + self.patches.analyse(x)

    def _to_quantize(self, x: Tensor) -> Tensor:
        """What the quantizer of an untrained codec gets of windows [B C *s]: [B D *g]."""
        return self._latents(x)

    def _quantize(self, x: Tensor) -> Quantized:
        self.check_size(x)
        quantized: Quantized = self.quantizer(self._latents(x))
        return quantized

    def _reconstruct(self, z: Tensor) -> Tensor:
        x: Tensor = self.decoder(z)
        return x if self.patches is None else x + self.patches.synthesise(z)
