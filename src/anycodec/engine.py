"""What an engine is: the one door to a framework. Found by name, imported only when used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from anycodec.checkpoint import RunDirectory
from anycodec.config.adversarial import AdversarialSpec
from anycodec.config.codec import CodecSpec
from anycodec.config.data import DataSpec
from anycodec.config.evaluation import ClassicalSpec, ClassifierSpec
from anycodec.config.features_run import FeaturesRunSpec
from anycodec.config.generation import GeneratorRunSpec
from anycodec.config.generator import GeneratorSpec
from anycodec.config.prior import PriorRunSpec
from anycodec.config.process import ProcessSpec
from anycodec.config.run import RunSpec
from anycodec.config.train import LoopSpec
from anycodec.errors import MissingExtra
from anycodec.types import Tokens

Windows = NDArray[np.float32]
"""[N C *s], normalised."""
LatentValues = NDArray[np.float32]
"""[N D *g]."""
Labels = NDArray[np.int64]
"""[N], -1 = none."""


class TrainingWindows(Protocol):
    """Windows of a split, as `anycodec.data.loader.WindowDataset` gives them. Picklable."""

    def __len__(self) -> int:
        """Items of one epoch."""

    def item(self, epoch: int, index: int) -> Windows:
        """Item `index` of `epoch`, [k C *s] (k > 1: the frames of a clip).

        Training items are random crops, a pure function of (seed, epoch, index); validation items
        are a fixed grid and ignore the epoch.
        """

    def labelled_item(self, epoch: int, index: int) -> tuple[Windows, int]:
        """`item`, and the number of its class, -1 where it has none."""

    def epoch_order(self, epoch: int) -> NDArray[np.int64]:
        """The order of items in this epoch (a permutation, or a subset with files_per_epoch)."""

    def close(self) -> None:
        """Close open files; the next item opens them again."""


class FeatureMaps(Protocol):
    """A frozen network's features of windows, place by place.

    Attributes:
        width: F.
    """

    width: int

    def __call__(self, windows: Windows) -> NDArray[np.float32]:
        """[N C *s] -> [N F *h]; *h is a grid of the network's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingWeights:
    """What a training starts from in place of random weights.

    Attributes:
        codec: weights of a codec of the same spec.
        discriminator: of one of the same spec, None = a new one.
    """

    codec: Path
    discriminator: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """Everything an engine needs to train.

    Attributes:
        spec: resolved configuration.
        in_channels: C of the windows.
        run: where checkpoints, metrics and logs go.
        train: windows of the training split.
        val: windows of the validation split.
        resume: continue from `run.resume` if it is there.
        quiet: no progress bar.
        start: weights to start from where nothing is resumed, None = random ones.
        teacher: what `spec.alignment` aligns latents with.
        classes: names of the classes in the order of their numbers.
        saved: to be called after each resumable checkpoint, by the process that wrote it.
    """

    spec: RunSpec
    in_channels: int
    run: RunDirectory
    train: TrainingWindows
    val: TrainingWindows
    resume: bool = False
    quiet: bool = False
    start: StartingWeights | None = None
    teacher: FeatureMaps | None = None
    classes: tuple[str, ...] = ()
    saved: Callable[[], None] = field(default=lambda: None)

    def weights(self, metric: str) -> Path:
        """Where the best weights by one of `train.kept_metrics` go; the folder is there."""
        kept = self.run if metric == self.spec.train.best.metric else self.run.best(metric)
        kept.path.mkdir(parents=True, exist_ok=True)
        return kept.weights


class Best(TypedDict):
    """The best value of a metric, and the step that reached it."""

    value: float
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """How a training ended.

    Attributes:
        steps: optimizer steps done in total.
        bests: of the kept weights, by metric of `train.kept_metrics`; {} where nothing was validated.
        seconds: wall time of this session's loop.
        data_wait: share of that time spent waiting for batches, 0..1.
        samples_per_second: scalar values (samples, pixels x channels) trained on a second.
    """

    steps: int
    bests: Mapping[str, Best]
    seconds: float
    data_wait: float
    samples_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesJob:
    """Everything an engine needs to train a feature network.

    Attributes:
        spec: resolved configuration.
        shape: (C, *s) of the windows.
        classes: names of the classes in the order of their numbers.
        run: where checkpoints, metrics and logs go.
        train: windows of the training split.
        val: windows of the validation split.
        resume: continue from `run.resume` if it is there.
        quiet: no progress bar.
    """

    spec: FeaturesRunSpec
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    run: RunDirectory
    train: TrainingWindows
    val: TrainingWindows
    resume: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class FeaturesResult:
    """How the training of a feature network ended.

    Attributes:
        steps: optimizer steps done in total.
        metric: the figure that chose the kept weights.
        best: its value.
        best_step: the step that reached it.
    """

    steps: int
    metric: str
    best: float
    best_step: int


class FeaturesRuntime(FeatureMaps, Protocol):
    """A feature network that was trained on the data itself."""

    def vectors(self, windows: Windows) -> NDArray[np.float32]:
        """[N C *s] -> means over time [N V]."""

    def probabilities(self, windows: Windows) -> NDArray[np.float32]:
        """[N C *s] -> of each class [N K].

        Raises:
            TypeError: the network knows no classes.
        """


class WindowCoder(Protocol):
    """Windows to tokens and back, on NumPy arrays."""

    def encode(self, windows: Windows) -> Tokens:
        """[N C *s] -> tokens of N windows."""

    def decode(self, tokens: Tokens) -> Windows:
        """Tokens of N windows -> [N C *s]."""


class CodecRuntime(WindowCoder, Protocol):
    """A trained codec, each window by itself. Deterministic; splits large inputs into chunks itself."""

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level; () where latents stay continuous: such a codec can only `reconstruct`."""

    def reconstruct(self, windows: Windows) -> Windows:
        """[N C *s] through the whole codec; where there are tokens, `decode(encode(windows))`."""

    def latents(self, windows: Windows, labels: Labels | None = None) -> LatentValues:
        """[N C *s] -> what the decoder sees: the values of the codes, or the mean where they are continuous.

        Args:
            windows: [N C *s].
            labels: [N], -1 = none, for codecs that know classes; others don't look at them.
        """

    def decode_latents(self, values: LatentValues, labels: Labels | None = None) -> Windows:
        """What `latents` gives, or a generator made, -> [N C *s]; labels as there."""

    def stream(self, side_by_side: int) -> WindowCoder:
        """A coder of the consecutive windows of one signal, `side_by_side` of them at each step in time.

        A causal codec carries on where the last call ended, encoding and decoding apart, so that the
        parts of a signal give what the whole would; any other codec is its own stream.
        """


class Classifier(Protocol):
    """A trained classifier of windows. Deterministic."""

    def probabilities(self, windows: Windows) -> NDArray[np.float32]:
        """[N C *s] -> [N K], rows add up to 1."""

    def features(self, windows: Windows) -> NDArray[np.float32]:
        """[N C *s] -> what it tells classes apart by, [N F] with F <= 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSizes:
    """What a generator derives from the latents that it is trained on.

    Attributes:
        shape: (D, *g) of the latents.
        n_classes: labels are 0 .. n_classes - 1.
        grids: *g of each level of tokens, () where the codec has none.
        codebook_sizes: codes a level.
        mean: of each channel, [D].
        std: its deviation, [D].
    """

    shape: tuple[int, ...]
    n_classes: int
    grids: tuple[tuple[int, ...], ...]
    codebook_sizes: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class LatentRows(Protocol):
    """Latents of a data set, as `anycodec.data.latents.Latents` gives them."""

    labels: NDArray[np.int32]
    """[n], -1 = none."""

    def rows(self, split: str) -> NDArray[np.int64]:
        """The rows of "train", "val" or "test"."""

    def values(self, rows: Iterable[int]) -> LatentValues:
        """Latents [k D *g] as the codec gave them."""

    def tokens(self, rows: Iterable[int]) -> Tokens:
        """Tokens of these rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorJob:
    """Everything an engine needs to train a generator.

    Attributes:
        spec: resolved configuration.
        sizes: of the latents.
        latents: to train on.
        run: where checkpoints, metrics and logs go.
        resume: continue from `run.resume` if it is there.
        quiet: no progress bar.
    """

    spec: GeneratorRunSpec
    sizes: LatentSizes
    latents: LatentRows
    run: RunDirectory
    resume: bool = False
    quiet: bool = False


class PriorExamples(Protocol):
    """Tokens of a split with their neighbours."""

    def count(self, level: int) -> int:
        """Tokens of a level."""

    def batch(
        self, level: int, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Neighbours [n J], places in the window [n axes] and codes [n] of tokens 0 .. `count` - 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorLevel:
    """What the network of a prior for one level is for.

    Attributes:
        sources: level of each neighbour [J], ascending.
        sizes: codes of those levels.
        places: along each axis of a window that are told apart; 1 = none.
        counts: how often each code occurs in training, [K].
        groups: of each code, [K] of 0, 1, ..; None where each is its own.
    """

    sources: tuple[int, ...]
    sizes: Mapping[int, int]
    places: tuple[int, ...]
    counts: NDArray[np.int64]
    groups: NDArray[np.int64] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorJob:
    """Everything an engine needs to train a prior.

    Attributes:
        spec: resolved configuration.
        levels: what each network is for.
        train: tokens of the training split.
        val: tokens of the validation split.
        run: where checkpoints, metrics and logs go.
        keep: takes the best weights of each level by name; see `anycodec.bitstream.prior_network.quantised`.
        resume: continue from `run.resume` if it is there.
        quiet: no progress bar.
    """

    spec: PriorRunSpec
    levels: tuple[PriorLevel, ...]
    train: PriorExamples
    val: PriorExamples
    run: RunDirectory
    keep: Callable[[Sequence[Mapping[str, NDArray[np.float32]]]], None]
    resume: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to draw samples.

    Attributes:
        sampler: for generators of latents; None = the process's usual one.
        steps: evaluations of a sampler, or of the network a set of tokens; None = as usual.
        guidance: 1 = the class alone, more = further away from what has no class.
        interval: times from which and up to which guidance counts, 0 = noise.
        guided_channels: of latents that guidance counts for; None = all.
        temperature: of tokens.
        precision: compute precision (autocast).
        compile: compile the network.
        batch: samples that are computed at once; halved where memory runs out.
    """

    sampler: str | None = None
    steps: int | None = None
    guidance: float = 1.0
    interval: tuple[float, float] = (0.0, 1.0)
    guided_channels: int | None = None
    temperature: float = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    batch: int = 64


class GeneratorRuntime(Protocol):
    """A trained generator. Deterministic."""

    def sample(self, labels: Labels, seeds: Sequence[int], how: Sampling) -> Iterator[LatentValues | Tokens]:
        """Batches of samples in order: latents [k D *g] as the codec gives them, or tokens.

        A sample depends on its label and its seed alone, not on the batch that it is in.

        Args:
            labels: [N], -1 = none.
            seeds: of each sample.
            how: the settings.

        Raises:
            UserError: a sampler that the process can't use.
            ResourceError: not even one sample fits into memory.
        """


WeightSource = Literal["taming", "totem", "vqvae2", "dalle", "diffusers", "lightningdit-vavae", "dome272"]
"""Published implementations whose weights can become a codec's run."""
WEIGHT_SOURCES: tuple[WeightSource, ...] = get_args(WeightSource)
GeneratorSource = Literal["lightningdit"]
"""Published implementations whose weights can become a generator's run."""
GENERATOR_SOURCES: tuple[GeneratorSource, ...] = get_args(GeneratorSource)
BasecallerName = Literal["bonito-r941"]
"""Networks that read bases from nanopore current."""
BASECALLER_NAMES: tuple[BasecallerName, ...] = get_args(BasecallerName)
BaseProbabilities = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""The current of a read [T] in pA -> probabilities [F 5] of no base, A, C, G and T, frame by frame."""
FeaturesName = Literal["efficientnet-lite0"]
"""Networks of an engine whose features compare sets of pictures."""
PictureFeatures = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Pictures [N 3 H W], as the network was trained on them -> features [N D]."""
WeightsName = Literal["lpips-vgg", "lpips-alex", FeaturesName, "dinov2", BasecallerName]
"""Published weights of networks that measure, as `anycodec.cache` names them."""
LpipsNet = Literal["alex", "vgg"]
"""Networks that LPIPS can look through."""
PictureDistance = Callable[[NDArray[np.float32], NDArray[np.float32]], float]
"""How far two pictures [H W 3] in [0, 1] are apart."""
ExportTarget = Literal["diffusers"]
"""Libraries that can read a codec of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedDiscriminator:
    """A published discriminator in our terms.

    Attributes:
        spec: how a training goes on with it.
        tensors: its whole state, as `discriminator.safetensors` stores it.
    """

    spec: AdversarialSpec
    tensors: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedCodec:
    """A published codec in our terms.

    Attributes:
        spec: the architecture that its tensors (and its configuration) imply.
        in_channels: C of the windows.
        tensors: the whole state of the codec, as `weights.safetensors` stores it.
        data: the kind of data, normalizer and window that it was trained on; no root.
        note: what a user should know, "" where nothing.
        discriminator: the one that it was trained against, None where it is not there.
    """

    spec: CodecSpec
    in_channels: int
    tensors: Mapping[str, NDArray[Any]]
    data: DataSpec
    note: str = ""
    discriminator: ImportedDiscriminator | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedGenerator:
    """A published generator in our terms.

    Attributes:
        spec: the architecture that its tensors (and its configuration) imply.
        process: what it was trained on.
        shape: (D, *g) of its latents.
        n_classes: classes that it knows.
        tensors: its whole state, as `weights.safetensors` stores it.
    """

    spec: GeneratorSpec
    process: ProcessSpec
    shape: tuple[int, ...]
    n_classes: int
    tensors: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedCodec:
    """A codec in another library's terms.

    Attributes:
        settings: that library's configuration of the model.
        tensors: its state, by that library's names.
    """

    settings: Mapping[str, Any]
    tensors: Mapping[str, NDArray[Any]]


class Engine(Protocol):
    """A framework."""

    def follow(self, spec: LoopSpec) -> bool:
        """Take part in a training that another process leads, where a launcher or the configuration says so.

        Args:
            spec: the training loop.

        Returns:
            Whether there was one; False in the process that leads, and in one that trains alone.

        Raises:
            SystemExit: the training was stopped, or failed; the first process says why.
        """

    def train(self, job: TrainingJob) -> TrainingResult:
        """Train to `spec.train.steps`, keeping the run directory resumable at any time."""

    def load(self, spec: RunSpec, in_channels: int, weights: Path, device: str = "auto") -> CodecRuntime:
        """Rebuild a codec from its configuration and `weights.safetensors`.

        Raises:
            RunError: weights that don't belong to the configuration; unknown and missing keys are listed.
        """

    def train_generator(self, job: GeneratorJob) -> TrainingResult:
        """Train a generator to `spec.train.steps`, keeping the run directory resumable at any time."""

    def load_generator(
        self, spec: GeneratorRunSpec, sizes: LatentSizes, weights: Path, device: str = "auto"
    ) -> GeneratorRuntime:
        """Rebuild a generator from its configuration and `weights.safetensors`.

        Raises:
            RunError: weights that don't belong to the configuration; unknown and missing keys are listed.
        """

    def train_prior(self, job: PriorJob) -> TrainingResult:
        """Train a prior to `spec.train.steps`, keeping the run directory resumable at any time."""

    def hand_over(self, run: RunDirectory, spec: RunSpec, in_channels: int) -> None:
        """Leave a run's resumable state in the form that every engine reads, `anycodec.training.snapshot`.

        Args:
            run: trained by this engine so far.
            spec: its configuration.
            in_channels: C of the windows.

        Raises:
            RunError: the state is damaged.
        """

    def import_weights(
        self, source: WeightSource, weights: Path, config: Mapping[str, Any] | None
    ) -> ImportedCodec:
        """Read a published file of weights; nothing in it is ever run.

        Args:
            source: whose it is.
            weights: a safetensors file or a checkpoint.
            config: the content of the configuration that was published with it.

        Raises:
            WeightsError: unreadable, unsafe, or not of that source; unknown and missing keys are listed.
        """

    def import_generator(
        self, source: GeneratorSource, weights: Path, config: Mapping[str, Any] | None
    ) -> ImportedGenerator:
        """As `import_weights`, of a generator."""

    def convert_weights(self, name: WeightsName, files: Sequence[Path]) -> Mapping[str, NDArray[Any]]:
        """The state of a network that measures, from published files; nothing in them is ever run.

        Raises:
            WeightsError: unreadable, unsafe, or not of that network; says what is missing.
        """

    def lpips(self, net: LpipsNet, device: str = "auto") -> PictureDistance:
        """LPIPS with the published weights from the cache.

        Raises:
            WeightsError: they are not there or damaged; says which command gets them.
        """

    def picture_features(self, name: FeaturesName, device: str = "auto") -> PictureFeatures:
        """The features of a network with the published weights from the cache.

        Raises:
            WeightsError: they are not there or damaged; says which command gets them.
        """

    def train_features(self, job: FeaturesJob) -> FeaturesResult:
        """Train a feature network to its last step, keeping the run directory resumable at any time.

        Raises:
            ResourceError: the batch does not fit in memory.
            RunError: a term became NaN, or the resumable state is damaged.
        """

    def load_features(
        self, spec: FeaturesRunSpec, shape: tuple[int, ...], classes: int, weights: Path, device: str = "auto"
    ) -> FeaturesRuntime:
        """Rebuild a feature network from its configuration and `weights.safetensors`.

        Raises:
            RunError: weights that don't belong to the configuration.
        """

    def hub_features(self, name: str, device: str = "auto") -> FeatureMaps:
        """A vision model of the Hugging Face hub.

        Raises:
            MissingExtra: transformers is not installed.
            WeightsError: there is no such model, or the hub can't be reached.
        """

    def basecaller(self, name: BasecallerName, device: str = "auto") -> BaseProbabilities:
        """A network that reads bases, with the published weights from the cache.

        Raises:
            WeightsError: they are not there or damaged; says which command gets them.
        """

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
        """Train a small classifier; the same for the same seed on the same machine.

        Args:
            spec: its size and training.
            windows: of mean 0 and deviation 1.
            labels: [N], 0 .. n_classes - 1.
            n_classes: K.
            classical: augment each batch; None = don't.
            seed: of weights, order and augmentation.
            device: auto, cpu or cuda.
        """

    def export_weights(
        self, target: ExportTarget, spec: RunSpec, in_channels: int, weights: Path
    ) -> ExportedCodec:
        """The codec of a run for another library.

        Raises:
            RunError: damaged weights, or a codec that the library does not have; says why.
        """


ENGINES = {"torch": "anycodec.torch.engine", "jax": "anycodec.jax.engine"}
"""Modules by the name of their engine."""


def get_engine(name: str) -> Engine:
    """The engine called `name`.

    Raises:
        MissingExtra: its framework is not installed.
    """
    try:
        module = importlib.import_module(ENGINES[name])
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the {name} engine", name) from error
    factory: Callable[[], Engine] = module.create
    return factory()
