"""Trained generators at work: noise and labels -> latents or tokens, sample by sample reproducible."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from anycodec.config.generation import GeneratorRunSpec
from anycodec.config.process import ProcessSpec
from anycodec.config.sampler import SamplerSpec
from anycodec.engine import Labels, LatentSizes, LatentValues, Sampling
from anycodec.errors import ResourceError, UserError
from anycodec.torch.device import out_of_memory
from anycodec.torch.generators.guidance import guided
from anycodec.torch.training.objective import LatentObjective, TokenObjective, make_objective
from anycodec.torch.weights import load_weights
from anycodec.types import Tokens

TOKEN_STEPS = 12
"""Steps of a token generator where none are given."""


class TorchGenerator(ABC):
    """What both kinds of generators share: batches that fit into memory."""

    network: nn.Module
    n_classes: int
    device: torch.device
    _compiled = False

    def sample(self, labels: Labels, seeds: Sequence[int], how: Sampling) -> Iterator[LatentValues | Tokens]:
        """See `anycodec.engine.GeneratorRuntime.sample`."""
        self.check(how)
        if how.compile and not self._compiled:
            self.network.compile()
            self._compiled = True
        start, batch = 0, how.batch
        while start < len(labels):
            stop = min(start + batch, len(labels))
            try:
                with out_of_memory(f"device {self.device}", "use a smaller generator, or --device cpu"):
                    drawn = self._draw_batch(labels[start:stop], seeds[start:stop], how)
            except ResourceError:
                if batch == 1:
                    raise
                batch //= 2
                continue
            yield drawn
            start = stop

    @torch.inference_mode()
    def _draw_batch(self, labels: Labels, seeds: Sequence[int], how: Sampling) -> LatentValues | Tokens:
        known = np.where(labels < 0, self.n_classes, labels)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=how.precision == "bf16"):
            return self._draw(torch.from_numpy(known).to(self.device), seeds, how)

    @abstractmethod
    def check(self, how: Sampling) -> None:
        """Refuse settings that this generator has no use for."""

    @abstractmethod
    def _draw(self, labels: Tensor, seeds: Sequence[int], how: Sampling) -> LatentValues | Tokens: ...


class LatentGenerator(TorchGenerator):
    """A network, the process that it was trained with, and the scale of its latents."""

    def __init__(self, spec: ProcessSpec, objective: LatentObjective, device: torch.device) -> None:
        self.spec, self.objective, self.device = spec, objective, device
        self.n_classes = objective.n_classes
        self.network = objective.network.to(device).eval()

    def check(self, how: Sampling) -> None:
        self._sampler(how)

    def _draw(self, labels: Tensor, seeds: Sequence[int], how: Sampling) -> LatentValues:
        network = self.objective.network
        predictor = guided(network, labels, how.guidance, how.interval, how.guided_channels)

        def predict(x: Tensor, t: Tensor) -> Tensor:
            return predictor(x, t).float()

        noise = torch.stack([_noise(self.objective.shape, seed) for seed in seeds]).to(self.device)
        drawn = self.objective.process.sample(predict, noise, self._sampler(how))
        latents: LatentValues = self.objective.scale.native(drawn.float()).cpu().numpy()
        return latents

    def _sampler(self, how: Sampling) -> SamplerSpec:
        name = how.sampler or self.spec.samplers[0]
        if name not in self.spec.samplers:
            raise UserError(
                f"the sampler {name} cannot run the process {self.spec.type}",
                where="--sampler",
                how=f"use {' or '.join(self.spec.samplers)}",
            )
        steps = {} if how.steps is None else {"steps": how.steps}
        adapter: TypeAdapter[SamplerSpec] = TypeAdapter(SamplerSpec)
        try:
            return adapter.validate_python({"type": name, **steps})
        except ValidationError as error:
            raise UserError(error.errors()[0]["msg"], where="--steps") from error


class TokenSampler(TorchGenerator):
    """A network over token grids."""

    def __init__(self, objective: TokenObjective, sizes: LatentSizes, device: torch.device) -> None:
        self.objective, self.sizes, self.device = objective, sizes, device
        self.n_classes = objective.n_classes
        self.network = objective.network.to(device).eval()

    def check(self, how: Sampling) -> None:
        if how.sampler is not None:
            raise UserError(
                "a generator of tokens has no sampler", where="--sampler", how="leave it out; --steps counts"
            )

    def _draw(self, labels: Tensor, seeds: Sequence[int], how: Sampling) -> Tokens:
        steps = how.steps or TOKEN_STEPS
        sources = [torch.Generator().manual_seed(seed) for seed in seeds]
        drawn = self.objective.network.sample(labels, steps, how.guidance, how.temperature, sources)
        grids = tuple(grid.cpu().numpy() for grid in drawn)
        return Tokens(grids, self.sizes.codebook_sizes)


def load_generator(
    spec: GeneratorRunSpec, sizes: LatentSizes, weights: Path, device: torch.device
) -> TorchGenerator:
    """Rebuild a generator.

    Raises:
        RunError: weights of another network.
    """
    objective = make_objective(spec, sizes)
    load_weights(objective.network, weights)
    if isinstance(objective, TokenObjective):
        return TokenSampler(objective, sizes, device)
    assert isinstance(objective, LatentObjective)
    assert spec.process is not None
    return LatentGenerator(spec.process, objective, device)


def _noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal noise that depends on the seed alone, whatever the device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
