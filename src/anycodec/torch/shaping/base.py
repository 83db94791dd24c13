"""The contract of terms that look at latents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from anycodec.torch.codecs.base import CodecOutput


@dataclass(frozen=True, slots=True)
class LatentStep:
    """A step of a training, as these terms see it.

    Attributes:
        x: windows [B C *s].
        output: what the codec made of them, with its latents.
        pull: gradient of the terms that compare windows with reconstructions, at a weight of the codec.
        decode: latents [B D *h] -> windows.
        number: steps done before.
        steps: of the whole training.
    """

    x: Tensor
    output: CodecOutput
    pull: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    number: int
    steps: int

    @property
    def latents(self) -> Tensor:
        """What the decoder saw [B D *g], with its graph."""
        assert self.output.latents is not None
        return self.output.latents


class LatentTerm(nn.Module, ABC):
    """A term of the sum that a codec minimises. What it learns itself is stored beside the codec."""

    @abstractmethod
    def forward(self, step: LatentStep) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """Weighted scalar terms by name, and scalars to watch."""
