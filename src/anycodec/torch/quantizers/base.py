"""The contract of a quantizer: latents in, tokens and their values out.

A new quantizer is one module with one `Quantizer` subclass named after its `type`, and a spec in
`anycodec/config/quantizers/`. `tests/contracts/test_quantizers.py` enrols it by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

TokenGrids = tuple[Tensor, ...]
"""One int64 grid [B *g] a level."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """What a quantizer makes of latents.

    Attributes:
        values: [B D *g], the codes in place of the latents; gradients pass straight through.
        tokens: one int64 grid [B *g] a level; () where latents stay continuous.
        losses: weighted scalar terms by name, to be added to the training loss.
        stats: scalars to watch: `perplexity`, `codes_used` (share of the codebook in this batch),
            `codes_dead` (share of the codebook that training has not used for a while). With several
            levels these are means, and `perplexity_0`, ... are those of the levels.
    """

    values: Tensor
    tokens: TokenGrids
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    stats: Mapping[str, Tensor] = field(default_factory=dict)


class Quantizer(nn.Module, ABC):
    """Latents [B D *g] of any number of grid axes <-> tokens.

    In training mode `forward` may change state (averages, initialisation, restarts); in evaluation
    mode it never does.
    """

    @property
    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level; () where latents stay continuous."""

    @abstractmethod
    def forward(self, z: Tensor) -> Quantized:
        """Quantise latents [B D *g]."""

    def squash(self, z: Tensor) -> Tensor:
        """Latents, of any layout, in the range that codes can cover; as they are where that has no end."""
        return z

    @property
    def shrinkage(self) -> Tensor:
        """How much smaller what it leaves is than what it got, [] or [D]; 1 where codes are learned."""
        return torch.ones(())

    def lr_factors(self) -> Mapping[nn.Parameter, float]:
        """Own parameters that learn at a multiple of the learning rate."""
        return {}

    @property
    def latents_wanted(self) -> int:
        """Latents that `start` would like before training; 0 = none."""
        return 0

    def start(self, latents: Tensor) -> None:
        """Place the codes before the first training step.

        Args:
            latents: [N D] of the untrained encoder on training windows.
        """

    @abstractmethod
    def lookup(self, tokens: TokenGrids) -> Tensor:
        """Values [B D *g] of tokens; equals `forward(z).values` for `forward(z).tokens`."""
