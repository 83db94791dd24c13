"""What a generator is trained on: normalised latents with a process, or token grids without one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from anycodec.config.generation import GeneratorRunSpec
from anycodec.engine import LatentRows, LatentSizes
from anycodec.torch.generators import Generator, TokenGenerator, make_generator, make_token_generator
from anycodec.torch.processes import make_process


@dataclass(frozen=True, slots=True)
class LatentBatch:
    """Rows of latents on the device.

    Attributes:
        values: normalised latents [B D *g], or one grid of tokens [B *g] a level.
        labels: [B] int64, -1 = none.
    """

    values: tuple[Tensor, ...]
    labels: Tensor


class Objective(ABC):
    """A network and its loss on rows of latents.

    Attributes:
        network: what is trained.
        n_classes: label `n_classes` means "no label".
    """

    network: nn.Module
    n_classes: int

    def load(self, latents: LatentRows, rows: Sequence[int]) -> LatentBatch:
        """Read a batch."""
        device = next(self.network.parameters()).device
        labels = torch.from_numpy(latents.labels[list(rows)].astype(np.int64))
        return LatentBatch(tuple(x.to(device) for x in self._values(latents, rows)), labels.to(device))

    def terms(self, batch: LatentBatch, dropout: float) -> dict[str, Tensor]:
        """Weighted scalar terms by name, with torch's own random numbers.

        Args:
            batch: rows of latents.
            dropout: share of labels that are hidden.
        """
        hidden = torch.rand(len(batch.labels), device=batch.labels.device) < dropout
        labels = batch.labels.masked_fill(hidden | (batch.labels < 0), self.n_classes)
        return self._terms(batch.values, labels)

    @abstractmethod
    def _values(self, latents: LatentRows, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """What the loss is of."""

    @abstractmethod
    def _terms(self, values: tuple[Tensor, ...], labels: Tensor) -> dict[str, Tensor]:
        """The loss; a label of `n_classes` = none."""


class LatentObjective(Objective):
    """A process's loss on latents of mean 0 and deviation 1 a channel."""

    network: Generator

    def __init__(self, spec: GeneratorRunSpec, sizes: LatentSizes) -> None:
        assert spec.process is not None
        self.n_classes, self.shape = sizes.n_classes, sizes.shape
        self.network = make_generator(spec.generator, sizes.shape, sizes.n_classes)
        self.process = make_process(spec.process)
        self.scale = LatentScale(sizes)

    def _values(self, latents: LatentRows, rows: Sequence[int]) -> tuple[Tensor, ...]:
        return (self.scale.normalised(torch.from_numpy(latents.values(rows))),)

    def _terms(self, values: tuple[Tensor, ...], labels: Tensor) -> dict[str, Tensor]:
        return self.process.loss(self.network, values[0], labels)


class TokenObjective(Objective):
    """A token generator's own loss."""

    network: TokenGenerator

    def __init__(self, spec: GeneratorRunSpec, sizes: LatentSizes) -> None:
        self.n_classes = sizes.n_classes
        self.network = make_token_generator(
            spec.generator, sizes.grids, sizes.codebook_sizes, sizes.n_classes
        )

    def _values(self, latents: LatentRows, rows: Sequence[int]) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(grid) for grid in latents.tokens(rows).grids)

    def _terms(self, values: tuple[Tensor, ...], labels: Tensor) -> dict[str, Tensor]:
        return self.network.loss(values, labels)


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
