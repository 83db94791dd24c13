"""The JAX engine: training, and trained codecs on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from anycodec.checkpoint import RunDirectory, read_arrays
from anycodec.config.evaluation import ClassicalSpec, ClassifierSpec
from anycodec.config.features_run import FeaturesRunSpec
from anycodec.config.generation import GeneratorRunSpec
from anycodec.config.run import RunSpec
from anycodec.config.train import LoopSpec
from anycodec.engine import (
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
from anycodec.errors import UserError
from anycodec.jax import runtime
from anycodec.jax.codecs import Codec, make_codec
from anycodec.jax.memory import out_of_memory
from anycodec.jax.weights import load_arrays
from anycodec.types import Tokens

_CHUNK_VALUES = 2**17
"""Scalar values of the windows that are computed at once: bounds memory whatever the input."""

Parts = tuple[NDArray[Any], ...]
"""Arrays [N ..] of the same windows."""


class JaxCodec:
    """A trained codec on NumPy arrays, in evaluation mode.

    Args:
        codec: the codec.
        device: where it computes.
    """

    def __init__(self, codec: Codec, device: jax.Device) -> None:
        self.codebook_sizes: tuple[int, ...] = codec.codebook_sizes
        self._expansion = int(np.prod(codec.stride))
        self._device = device
        graph, state = nnx.split(codec)
        self._state = jax.device_put(state, device)

        def compiled(verb: Callable[..., Sequence[jax.Array]]) -> Callable[..., Sequence[jax.Array]]:
            return jax.jit(lambda state, *parts: verb(nnx.merge(graph, state), *parts))

        self._encode = compiled(lambda codec, x: codec.encode(x))
        self._decode = compiled(lambda codec, *grids: (codec.decode(grids),))
        self._reconstruct = compiled(lambda codec, x: (codec(x, train=False).reconstruction,))

    def encode(self, windows: Windows) -> Tokens:
        """[N C *s] -> tokens of N windows."""
        return Tokens(self._in_chunks(self._encode, (windows,), windows[:1].size), self.codebook_sizes)

    def decode(self, tokens: Tokens) -> Windows:
        """Tokens of N windows -> [N C *s]."""
        grids = tuple(grid.astype(np.int32) for grid in tokens.grids)
        (values,) = self._in_chunks(self._decode, grids, grids[0][:1].size * self._expansion)
        return values

    def reconstruct(self, windows: Windows) -> Windows:
        """[N C *s] through the whole codec."""
        (values,) = self._in_chunks(self._reconstruct, (windows,), windows[:1].size)
        return values

    def latents(self, windows: Windows, labels: Labels | None = None) -> LatentValues:
        """Only the torch engine can."""
        raise _no_latents()

    def decode_latents(self, values: LatentValues, labels: Labels | None = None) -> Windows:
        """Only the torch engine can."""
        raise _no_latents()

    def stream(self, side_by_side: int) -> WindowCoder:
        """A coder of consecutive windows; see `anycodec.engine.CodecRuntime.stream`."""
        return self

    def _in_chunks(
        self, verb: Callable[..., Sequence[jax.Array]], parts: Parts, values: int
    ) -> tuple[NDArray[Any], ...]:
        """Results [N ..] of a compiled verb, a few windows at a time.

        Args:
            verb: (state, *parts) -> results.
            parts: arrays [N ..].
            values: scalar values of a window.
        """
        most = max(1, _CHUNK_VALUES // max(1, values))
        found = []
        with out_of_memory(f"device {self._device.platform}", "use --device cpu, or a smaller window"):
            for start in range(0, len(parts[0]), most):
                chunk = tuple(part[start : start + most] for part in parts)
                padded = jax.device_put(_padded(chunk, most), self._device)
                results = verb(self._state, *padded)
                found.append([np.asarray(result)[: len(chunk[0])] for result in results])
        return tuple(np.concatenate(level) for level in zip(*found, strict=True))


def _padded(parts: Parts, most: int) -> Parts:
    """Windows up to a power of two, or up to `most`, repeating the last: each size is compiled once."""
    count = len(parts[0])
    size = min(most, 1 << (count - 1).bit_length())
    return tuple(np.concatenate([part, np.repeat(part[-1:], size - count, axis=0)]) for part in parts)


class JaxEngine:
    """The engine called `jax`. What is no codec is the torch engine's: it is asked by its name."""

    name = "jax"

    def follow(self, spec: LoopSpec) -> bool:
        """Take part in a training that another process leads; see `anycodec.engine.Engine.follow`."""
        from anycodec.jax.training.loop import follow

        return follow(spec)

    def train(self, job: TrainingJob) -> TrainingResult:
        from anycodec.jax.training.loop import train

        return train(job)

    def load(self, spec: RunSpec, in_channels: int, weights: Path, device: str = "auto") -> JaxCodec:
        """Rebuild a codec; see `anycodec.engine.Engine.load`."""
        runtime.configure(device)
        codec = make_codec(spec.codec, in_channels, seed=0)
        load_arrays(codec, read_arrays(weights), str(weights))
        return JaxCodec(codec, runtime.devices(device)[0])

    def train_generator(self, job: GeneratorJob) -> TrainingResult:
        """Only the torch engine can."""
        _refuse("train a generator")

    def load_generator(
        self, spec: GeneratorRunSpec, sizes: LatentSizes, weights: Path, device: str = "auto"
    ) -> GeneratorRuntime:
        """Only the torch engine can."""
        _refuse("load a generator")

    def train_prior(self, job: PriorJob) -> TrainingResult:
        """Only the torch engine can."""
        _refuse("train priors")

    def hand_over(self, run: RunDirectory, spec: RunSpec, in_channels: int) -> None:
        """Nothing to do: what this engine resumes from is what others read."""

    def import_weights(
        self, source: WeightSource, weights: Path, config: Mapping[str, Any] | None
    ) -> ImportedCodec:
        """Only the torch engine can."""
        _refuse("import published weights")

    def import_generator(
        self, source: GeneratorSource, weights: Path, config: Mapping[str, Any] | None
    ) -> ImportedGenerator:
        """Only the torch engine can."""
        _refuse("import published weights")

    def convert_weights(self, name: WeightsName, files: Sequence[Path]) -> Mapping[str, NDArray[Any]]:
        """Only the torch engine can."""
        _refuse("convert published weights")

    def lpips(self, net: LpipsNet, device: str = "auto") -> PictureDistance:
        """Only the torch engine can."""
        _refuse("compute LPIPS")

    def picture_features(self, name: FeaturesName, device: str = "auto") -> PictureFeatures:
        """Only the torch engine can."""
        _refuse("compute features of pictures")

    def train_features(self, job: FeaturesJob) -> FeaturesResult:
        """Only the torch engine can."""
        _refuse("train feature networks")

    def load_features(
        self, spec: FeaturesRunSpec, shape: tuple[int, ...], classes: int, weights: Path, device: str = "auto"
    ) -> FeaturesRuntime:
        """Only the torch engine can."""
        _refuse("run feature networks")

    def hub_features(self, name: str, device: str = "auto") -> FeatureMaps:
        """Only the torch engine can."""
        _refuse("run models of the hub")

    def basecaller(self, name: BasecallerName, device: str = "auto") -> BaseProbabilities:
        """Only the torch engine can."""
        _refuse("call bases")

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
        """Only the torch engine can."""
        _refuse("train a classifier")

    def export_weights(
        self, target: ExportTarget, spec: RunSpec, in_channels: int, weights: Path
    ) -> ExportedCodec:
        """Only the torch engine can."""
        _refuse("export a codec")


def _no_latents() -> UserError:
    how = "set ANYCODEC_ENGINE=torch: both engines load the same runs"
    return UserError("the engine jax has no latents of codecs", where="ANYCODEC_ENGINE", how=how)


def _refuse(what: str) -> NoReturn:
    raise UserError(f"the engine jax can't {what}", where="engine", how="use engine=torch")


def create() -> JaxEngine:
    """The engine, for `anycodec.engine.get_engine`."""
    return JaxEngine()
