"""What a generator is trained on: normalised latents with a process, or token grids without one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from anycodec.config.generation import GeneratorRunSpec
from anycodec.engine import LatentRows, LatentSizes
from anycodec.torch.generators import Generator, TokenGenerator, make_generator, make_token_generator
from anycodec.torch.processes import make_process


class Objective(ABC):
    """A network and its loss on rows of latents.

    Attributes:
        network: what is trained.
        n_classes: label `n_classes` means "no label".
    """

    network: nn.Module
    n_classes: int

    def terms(self, latents: LatentRows, rows: Iterable[int], dropout: float) -> dict[str, Tensor]:
        """Weighted scalar terms by name, with torch's own random numbers.

        Args:
            latents: the data.
            rows: of the batch.
            dropout: share of labels that are hidden.
        """
        chosen = list(rows)
        device = next(self.network.parameters()).device
        labels = torch.from_numpy(latents.labels[chosen].astype(np.int64)).to(device)
        hidden = (labels < 0) | (torch.rand(len(labels), device=device) < dropout)
        return self._terms(latents, chosen, labels.masked_fill(hidden, self.n_classes))

    @abstractmethod
    def _terms(self, latents: LatentRows, rows: list[int], labels: Tensor) -> dict[str, Tensor]: ...


class LatentObjective(Objective):
    """A process's loss on latents of mean 0 and deviation 1 a channel."""

    network: Generator

    def __init__(self, spec: GeneratorRunSpec, sizes: LatentSizes) -> None:
        assert spec.process is not None
        self.n_classes, self.shape = sizes.n_classes, sizes.shape
        self.network = make_generator(spec.generator, sizes.shape, sizes.n_classes)
        self.process = make_process(spec.process)
        self.scale = LatentScale(sizes)

    def _terms(self, latents: LatentRows, rows: list[int], labels: Tensor) -> dict[str, Tensor]:
        x = torch.from_numpy(latents.values(rows)).to(labels.device)
        return self.process.loss(self.network, self.scale.normalised(x), labels)


class TokenObjective(Objective):
    """A token generator's own loss."""

    network: TokenGenerator

    def __init__(self, spec: GeneratorRunSpec, sizes: LatentSizes) -> None:
        self.n_classes = sizes.n_classes
        self.network = make_token_generator(
            spec.generator, sizes.grids, sizes.codebook_sizes, sizes.n_classes
        )

    def _terms(self, latents: LatentRows, rows: list[int], labels: Tensor) -> dict[str, Tensor]:
        grids = latents.tokens(rows).grids
        return self.network.loss(tuple(torch.from_numpy(grid).to(labels.device) for grid in grids), labels)


class LatentScale:
    """Latents [B D *g] <-> mean 0 and deviation 1 a channel."""

    def __init__(self, sizes: LatentSizes) -> None:
        shape = (1, -1, *[1] * (len(sizes.shape) - 1))
        self._mean = torch.tensor(sizes.mean, dtype=torch.float32).view(shape)
        self._std = torch.tensor(sizes.std, dtype=torch.float32).view(shape)

    def normalised(self, z: Tensor) -> Tensor:
        return (z - self._mean.to(z.device)) / self._std.to(z.device)

    def native(self, x: Tensor) -> Tensor:
        """The inverse of `normalised`."""
        return x * self._std.to(x.device) + self._mean.to(x.device)


def make_objective(spec: GeneratorRunSpec, sizes: LatentSizes) -> Objective:
    """The network and the loss of a spec."""
    if spec.generator.takes == "tokens":
        return TokenObjective(spec, sizes)
    return LatentObjective(spec, sizes)
