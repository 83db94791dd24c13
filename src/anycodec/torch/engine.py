"""The torch engine: training, and trained codecs on NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anycodec.checkpoint import RunDirectory
from anycodec.config.evaluation import ClassicalSpec, ClassifierSpec
from anycodec.config.features_run import FeaturesRunSpec
from anycodec.config.generation import GeneratorRunSpec
from anycodec.config.run import RunSpec
from anycodec.config.train import LoopSpec
from anycodec.engine import (
    BASECALLER_NAMES,
    BasecallerName,
    BaseProbabilities,
    Classifier,
    ExportedCodec,
    ExportTarget,
    FeatureMaps,
    FeaturesJob,
    FeaturesName,
    FeaturesResult,
    FeaturesRuntime,
    GeneratorJob,
    GeneratorRuntime,
    GeneratorSource,
    ImportedCodec,
    ImportedGenerator,
    Labels,
    LatentSizes,
    LatentValues,
    LpipsNet,
    PictureDistance,
    PictureFeatures,
    PriorJob,
    TrainingJob,
    TrainingResult,
    WeightsName,
    WeightSource,
    WindowCoder,
    Windows,
)
from anycodec.torch.codecs import make_codec
from anycodec.torch.codecs.base import Autoencoder, Codec
from anycodec.torch.codecs.streaming import StreamingCodec
from anycodec.torch.device import choose_device, coding_memory
from anycodec.torch.stream import TorchStream
from anycodec.torch.weights import load_weights, stored_shape
from anycodec.types import Tokens

_CHUNK_VALUES = 2**17
"""Scalar values of the windows that are computed at once: bounds memory whatever the input."""


class TorchCodec:
    """A trained codec on NumPy arrays, in evaluation mode."""

    def __init__(self, codec: Codec, device: torch.device) -> None:
        self.codec = codec.to(device).eval()
        self.device = device

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return self.codec.codebook_sizes

    @torch.inference_mode()
    def encode(self, windows: Windows) -> Tokens:
        """[N C *s] -> tokens of N windows."""
        levels: list[list[np.ndarray]] = [[] for _ in self.codebook_sizes]
        with coding_memory(self.device):
            for x in self._chunks(windows):
                for level, grid in zip(levels, self.codec.encode(x), strict=True):
                    level.append(grid.cpu().numpy())
        return Tokens(tuple(np.concatenate(level) for level in levels), self.codebook_sizes)

    @torch.inference_mode()
    def decode(self, tokens: Tokens) -> Windows:
        """Tokens of N windows -> [N C *s]."""
        parts = []
        expansion = int(np.prod(self.codec.stride))
        chunk = max(1, _CHUNK_VALUES // max(1, tokens.grids[0][:1].size * expansion))
        with coding_memory(self.device):
            for start in range(0, len(tokens), chunk):
                grids = tuple(
                    torch.from_numpy(grid[start : start + chunk].astype(np.int64)).to(self.device)
                    for grid in tokens.grids
                )
                parts.append(self.codec.decode(grids).float().cpu().numpy())
        return np.concatenate(parts)

    @torch.inference_mode()
    def reconstruct(self, windows: Windows) -> Windows:
        """[N C *s] through the whole codec."""
        with coding_memory(self.device):
            parts = [self.codec(x).reconstruction.float().cpu().numpy() for x in self._chunks(windows)]
        return np.concatenate(parts)

    @torch.inference_mode()
    def latents(self, windows: Windows, labels: Labels | None = None) -> LatentValues:
        """[N C *s] -> what the decoder sees [N D *g]."""
        parts = []
        done = 0
        with coding_memory(self.device):
            for x in self._chunks(windows):
                z = self.codec.latents(x, self._labels(labels, done, len(x)))
                parts.append(z.float().cpu().numpy())
                done += len(x)
        return np.concatenate(parts)

    @torch.inference_mode()
    def decode_latents(self, values: LatentValues, labels: Labels | None = None) -> Windows:
        """What `latents` gives, or a generator made, -> [N C *s].

        Where there is a codebook, latents beside its codes are moved onto the nearest, as latent diffusion
        does (arXiv 2112.10752): the decoder never saw others.
        """
        pixels = math.prod(values.shape[2:]) * math.prod(self.codec.stride)
        chunk = max(1, _CHUNK_VALUES // max(1, pixels))
        parts = []
        with coding_memory(self.device):
            for start in range(0, len(values), chunk):
                z = torch.from_numpy(np.ascontiguousarray(values[start : start + chunk])).to(self.device)
                x = self.codec.decode_latents(self._on_codes(z), self._labels(labels, start, len(z)))
                parts.append(x.float().cpu().numpy())
        return np.concatenate(parts)

    def _on_codes(self, z: Tensor) -> Tensor:
        """Latents [B D *g], each at its nearest code."""
        if not isinstance(self.codec, Autoencoder) or not self._keeps_codes:
            return z
        values: Tensor = self.codec.quantizer(z).values
        return values

    @cached_property
    def _keeps_codes(self) -> bool:
        """Whether the quantizer takes codes for what they are; those that squash or project latents don't."""
        if not isinstance(self.codec, Autoencoder) or not self.codebook_sizes:
            return False
        random = torch.Generator().manual_seed(0)
        grid = (1, *[4] * len(self.codec.stride))
        tokens = [torch.randint(size, grid, generator=random) for size in self.codebook_sizes]
        codes = self.codec.quantizer.lookup(tuple(level.to(self.device) for level in tokens))
        return torch.allclose(self.codec.quantizer(codes).values, codes, atol=1e-5)

    def _labels(self, labels: Labels | None, start: int, count: int) -> Tensor | None:
        return None if labels is None else torch.from_numpy(labels[start : start + count]).to(self.device)

    def _chunks(self, windows: Windows) -> Iterator[Tensor]:
        """[n C *s] on the device, as many windows as are computed at once."""
        chunk = max(1, _CHUNK_VALUES // max(1, windows[:1].size))
        for start in range(0, len(windows), chunk):
            yield torch.from_numpy(np.ascontiguousarray(windows[start : start + chunk])).to(self.device)

    def stream(self, side_by_side: int) -> WindowCoder:
        """A coder of consecutive windows; see `anycodec.engine.CodecRuntime.stream`."""
        if not isinstance(self.codec, StreamingCodec):
            return self
        return TorchStream(self.codec, self.device, side_by_side, _CHUNK_VALUES)


class TorchEngine:
    """The engine called `torch`."""

    name = "torch"

    def follow(self, spec: LoopSpec) -> bool:
        """Take part in a training that another process leads; see `anycodec.engine.Engine.follow`."""
        from anycodec.torch.parallel.place import find_place
        from anycodec.torch.parallel.team import follow
        from anycodec.torch.training.jobs import work

        place = find_place(spec)
        if place.rank:
            follow(place, lambda job: work(job, place))
        return place.rank > 0

    def train(self, job: TrainingJob) -> TrainingResult:
        from anycodec.torch.training.loop import train

        return train(job)

    def load(self, spec: RunSpec, in_channels: int, weights: Path, device: str = "auto") -> TorchCodec:
        """Rebuild a codec; see `anycodec.engine.Engine.load`."""
        return TorchCodec(_load(spec, in_channels, weights), choose_device(device))

    def train_generator(self, job: GeneratorJob) -> TrainingResult:
        from anycodec.torch.training.generation import train_generator

        return train_generator(job)

    def load_generator(
        self, spec: GeneratorRunSpec, sizes: LatentSizes, weights: Path, device: str = "auto"
    ) -> GeneratorRuntime:
        """Rebuild a generator; see `anycodec.engine.Engine.load_generator`."""
        from anycodec.torch.sampling import load_generator

        return load_generator(spec, sizes, weights, choose_device(device))

    def train_prior(self, job: PriorJob) -> TrainingResult:
        """Train a prior; see `anycodec.engine.Engine.train_prior`."""
        from anycodec.torch.priors.training import train_prior

        return train_prior(job)

    def hand_over(self, run: RunDirectory, spec: RunSpec, in_channels: int) -> None:
        """Let another engine continue a run; see `anycodec.engine.Engine.hand_over`."""
        from anycodec.torch.training.handover import hand_over

        hand_over(run, spec, in_channels)

    def import_weights(
        self, source: WeightSource, weights: Path, config: Mapping[str, Any] | None
    ) -> ImportedCodec:
        """Read a published file of weights; see `anycodec.engine.Engine.import_weights`."""
        from anycodec.torch.importers import import_weights

        return import_weights(source, weights, config)

    def import_generator(
        self, source: GeneratorSource, weights: Path, config: Mapping[str, Any] | None
    ) -> ImportedGenerator:
        """Read a published file of weights; see `anycodec.engine.Engine.import_generator`."""
        from anycodec.torch.importers import import_generator

        return import_generator(source, weights, config)

    def convert_weights(self, name: WeightsName, files: Sequence[Path]) -> Mapping[str, NDArray[Any]]:
        """Read published weights; see `anycodec.engine.Engine.convert_weights`."""
        if name in BASECALLER_NAMES:
            from anycodec.torch.basecallers.bonito import convert_bonito

            return convert_bonito(files)
        if name == "efficientnet-lite0":
            from anycodec.torch.features.efficientnet import convert_efficientnet

            return convert_efficientnet(files)
        from anycodec.torch.features.convert import convert_lpips

        return convert_lpips(name.removeprefix("lpips-"), files)

    def lpips(self, net: LpipsNet, device: str = "auto") -> PictureDistance:
        """LPIPS as a function; see `anycodec.engine.Engine.lpips`."""
        from anycodec.torch.features.lpips import picture_distance

        return picture_distance(net, choose_device(device))

    def picture_features(self, name: FeaturesName, device: str = "auto") -> PictureFeatures:
        """Features of pictures as a function; see `anycodec.engine.Engine.picture_features`."""
        from anycodec.torch.features.efficientnet import load_features

        return load_features(choose_device(device))

    def train_features(self, job: FeaturesJob) -> FeaturesResult:
        """Train a feature network; see `anycodec.engine.Engine.train_features`."""
        from anycodec.torch.training.features import train_features

        return train_features(job)

    def load_features(
        self, spec: FeaturesRunSpec, shape: tuple[int, ...], classes: int, weights: Path, device: str = "auto"
    ) -> FeaturesRuntime:
        """Rebuild a feature network; see `anycodec.engine.Engine.load_features`."""
        from anycodec.torch.features.trained import load_features

        return load_features(spec, shape, classes, weights, choose_device(device))

    def hub_features(self, name: str, device: str = "auto") -> FeatureMaps:
        """A vision model of the Hugging Face hub; see `anycodec.engine.Engine.hub_features`."""
        from anycodec.torch.features.pretrained import HubFeatures

        return HubFeatures(name, choose_device(device))

    def basecaller(self, name: BasecallerName, device: str = "auto") -> BaseProbabilities:
        """A basecaller as a function; see `anycodec.engine.Engine.basecaller`."""
        from anycodec.torch.basecallers.caller import load_basecaller

        return load_basecaller(name, choose_device(device))

    def classifier(
        self,
        spec: ClassifierSpec,
        windows: Windows,
        labels: NDArray[np.int64],
        n_classes: int,
        *,
        classical: ClassicalSpec | None = None,
        seed: int = 0,
        device: str = "auto",
    ) -> Classifier:
        """Train a small classifier; see `anycodec.engine.Engine.classifier`."""
        from anycodec.torch.classifier import train_classifier

        return train_classifier(
            spec, windows, labels, n_classes, classical=classical, seed=seed, device=choose_device(device)
        )

    def export_weights(
        self, target: ExportTarget, spec: RunSpec, in_channels: int, weights: Path
    ) -> ExportedCodec:
        """The codec of a run for another library; see `anycodec.engine.Engine.export_weights`."""
        from anycodec.torch.exporters import export

        return export(target, _load(spec, in_channels, weights), spec)


def _load(spec: RunSpec, in_channels: int, weights: Path) -> Codec:
    labels = stored_shape(weights, "condition.embedding.weight")
    codec = make_codec(spec.codec, in_channels, labels[0] - 1 if labels else 0)
    load_weights(codec, weights)
    return codec


def create() -> TorchEngine:
    """The engine, for `anycodec.engine.get_engine`."""
    return TorchEngine()
