"""The contract of a process: what a generator is trained on, and how its predictions become samples.

A new process is one module with one `Process` subclass named after its `type`, and a spec in
`anycodec/config/processes/`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from anycodec.config.sampler import SamplerSpec
from anycodec.torch.generators.base import Generator

Predictor = Callable[[Tensor, Tensor], Tensor]
"""(x [B D *g], t [B]) -> what the generator predicts [B D *g]; labels and guidance are bound already."""


class Process(ABC):
    """A path between noise and data. It has no parameters."""

    @abstractmethod
    def loss(
        self, generator: Generator, x: Tensor, labels: Tensor, random: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Weighted scalar terms by name, to be added.

        Args:
            generator: the network.
            x: [B D *g], normalised latents.
            labels: [B] int64, `generator.n_classes` where there is none or it was dropped.
            random: where times and noise come from, on the device of x; None = torch's own.
        """

    @abstractmethod
    def sample(self, predict: Predictor, noise: Tensor, sampler: SamplerSpec) -> Tensor:
        """Normalised latents [B D *g] from standard normal noise [B D *g]. A pure function.

        Raises:
            UserError: the sampler is for another process.
        """
