"""The contracts of generators: networks over latents, or over token grids.

A new generator is one module with one subclass named after its `type`, and a spec in
`anycodec/config/generators/`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anycodec.torch.quantizers import TokenGrids


class Generator(nn.Module, ABC):
    """Predicts, from noisy latents, what its process regresses.

    Attributes:
        shape: (D, *g) of the latents that it was made for.
        n_classes: classes that it knows; label `n_classes` means "no label", which every generator knows.
    """

    shape: tuple[int, ...]
    n_classes: int

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Predict.

        Args:
            x: [B D *g], noisy latents; normalised ones were noised.
            t: [B] in [0, 1]; what it means is the process's business (for `flow` 0 = noise, 1 = data).
            labels: [B] int64, 0 to `n_classes`.

        Returns:
            [B D *g].
        """


class TokenGenerator(nn.Module, ABC):
    """Generates token grids; it has no process.

    Attributes:
        n_classes: classes that it knows; label `n_classes` means "no label".
    """

    n_classes: int

    @abstractmethod
    def loss(
        self, tokens: TokenGrids, labels: Tensor, random: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Weighted scalar terms by name.

        Args:
            tokens: one int64 grid [B *g] a level.
            labels: [B] int64, 0 to `n_classes`; label dropout is done.
            random: where all random numbers but dropout's come from, on the device of tokens; None =
                torch's own.
        """

    @abstractmethod
    def sample(
        self,
        labels: Tensor,
        steps: int,
        guidance: float,
        temperature: float,
        sources: Sequence[torch.Generator],
    ) -> TokenGrids:
        """Draw one int64 grid [B *g] a level for labels [B].

        Args:
            labels: [B] int64, 0 to `n_classes`.
            steps: forward passes a sample.
            guidance: 1 = the conditional prediction alone.
            temperature: of the choice among codes, 1 = as predicted.
            sources: where the random numbers of each sample come from, on the CPU, so that a sample does
                not depend on the others.
        """
