"""`anycodec augment`: real data -> split -> codec -> latents -> generator -> samples -> evaluation."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from anycodec.checkpoint import RunDirectory
from anycodec.config.augmentation import AugmentationRunSpec
from anycodec.config.data import DataSpec, ManifestSplit
from anycodec.config.generation import GeneratorTrainSpec
from anycodec.config.kinds import AUGMENTATION
from anycodec.config.loader import load_kind
from anycodec.config.train import TrainSpec
from anycodec.data.dataset import WindowDataset
from anycodec.data.latents import read_info
from anycodec.data.loader import find_signals
from anycodec.data.normalize import make_normalizer
from anycodec.data.resample import open_at_rate
from anycodec.data.split import make_split
from anycodec.engine import Sampling
from anycodec.errors import UserError
from anycodec.io.discover import base_folder
from anycodec.workflows import evaluate_augmentation, latents, sample, train, train_generator
from anycodec.workflows.augmentation_report import RESULT
from anycodec.workflows.continuing import without_effect
from anycodec.workflows.exclusive import exclusive
from anycodec.workflows.prepare import PICTURES, SPLIT, prepare, prepared_from_jet, recorded
from anycodec.workflows.stages import Stage, files_fingerprint, run_stages

STAGES = ("split", "codec", "latents", "generator", "sample", "evaluation")
TrainSettings = TypeVar("TrainSettings", TrainSpec, GeneratorTrainSpec)
_HOW = {"root", "workers", "prefetch"}
"""Settings of the data that say where it lies and how it is read, not what it is."""
_READING = ("columns", "timestamp", "series_id", "layout")
"""Settings of series that say what of a file is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says beside the configuration.

    Attributes:
        skip: stages whose results are taken as they lie there.
        force: run everything else again.
        max_epochs: length of both trainings; None = their `train.steps`.
        device: auto, cpu or cuda.
        quiet: no progress bars.
    """

    skip: Collection[str] = ()
    force: bool = False
    max_epochs: int | None = None
    device: str = "auto"
    quiet: bool = False


def run(config: Path, overrides: Sequence[str], out: Path | None, options: Options) -> int:
    """Run the whole pipeline, or what an earlier call left to do.

    Args:
        config: of an augmentation.
        overrides: `dotted.key=value`.
        out: folder of everything; None = runs/NAME.
        options: see `Options`.

    Raises:
        ConfigError: mistakes in the configuration, all at once.
        DataError: no usable data.
        UserError: a stage to be skipped has no result, another job is at the folder, or a launcher has
            started several processes of this.
    """
    _refuse_launchers()
    spec = load_kind(AUGMENTATION, config, overrides)
    folder = out or Path("runs") / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder):
        run_stages(folder, Pipeline(spec, folder, options).stages(), skip=options.skip, force=options.force)
    return 0


def _refuse_launchers(environ: Mapping[str, str] = os.environ) -> None:
    """Refuse to be one of several processes: each would run the whole pipeline.

    Raises:
        UserError: a launcher has started this one.
    """
    if int(environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError(
            "a pipeline starts the processes of its trainings by itself",
            where="torchrun",
            how="run it without a launcher, with --devices N",
        )


class Pipeline:
    """The stages of an augmentation, in a folder.

    Args:
        spec: all settings.
        folder: of everything.
        options: of the command line.
    """

    def __init__(self, spec: AugmentationRunSpec, folder: Path, options: Options) -> None:
        self._spec, self._folder, self._options = spec, folder, options

    def stages(self) -> list[Stage]:
        """In order."""
        spec, length = self._spec, {"seed": self._spec.seed, "--max-epochs": self._options.max_epochs}
        codec, generator = spec.codec.model_dump(mode="json"), spec.generator.model_dump(mode="json")
        drawn = {"augmentation": self._sampling_settings(), "seed": spec.seed}
        judged = {"evaluation": spec.evaluation.model_dump(mode="json")}
        learned = {"codec": codec, **length, "data": self._data_settings()}
        return [
            Stage("split", self._split_settings(), self._split, _split_output, without_effect),
            Stage("codec", learned, self._codec, _codec_output, _without_effect("codec."), keep=True),
            Stage("latents", {}, self._latents, _manifest_output),
            Stage(
                "generator",
                {"generator": generator, **length},
                self._generator,
                _generator_output,
                _without_effect("generator."),
                keep=True,
            ),
            Stage("sample", drawn, self._sample, files_fingerprint),
            Stage("evaluation", judged, self._evaluate, _evaluation_output),
        ]

    def _data_settings(self) -> dict[str, Any]:
        return self._spec.data.model_dump(mode="json", exclude=_HOW)

    def _split_settings(self) -> dict[str, Any]:
        spec, data = self._spec, recorded(self._spec)
        assert data.root is not None, "the loader checks data.root"
        files = find_signals(data).fingerprint(base_folder(data.root))
        return {
            "fingerprint of the files": files,
            "data": self._data_settings(),
            "shrink": spec.shrink,
            "augmentation.budget": spec.augmentation.budget,
            "seed": spec.seed,
        }

    def _sampling_settings(self) -> dict[str, Any]:
        return self._spec.augmentation.model_dump(mode="json", exclude={"budget"})

    @property
    def _data(self) -> DataSpec:
        """The data as the split stage left it."""
        folder = self._folder / "split"
        root = folder / PICTURES if self._spec.shrink else self._spec.data.root
        return self._spec.data.model_copy(update={"root": root, "split": ManifestSplit(path=folder / SPLIT)})

    def _split(self, folder: Path, resume: bool) -> None:
        prepare(self._spec, folder)

    def _codec(self, folder: Path, resume: bool) -> None:
        spec = self._spec.codec_run(self._data)
        epochs = self._options.max_epochs
        if epochs is not None:
            windows = self._windows()
            spec = spec.model_copy(update={"train": for_epochs(spec.train, windows, epochs)})
        train.train(spec, RunDirectory(folder), resume=resume, quiet=self._options.quiet)

    def _windows(self) -> int:
        """Training windows of an epoch."""
        data = self._data
        pieces = make_split(find_signals(data), data).train
        axes = self._spec.codec_run(data).codec.axes
        windows = WindowDataset(
            pieces, data, make_normalizer(data.normalizer), open_at_rate, training=True, seed=0, axes=axes
        )
        with closing(windows):
            return len(windows)

    def _latents(self, folder: Path, resume: bool) -> None:
        root = self._data.root
        assert root is not None, "the split stage has read it"
        latents.run(self._folder / "codec", [root], folder, self._options.device)

    def _generator(self, folder: Path, resume: bool) -> None:
        source = self._folder / "latents"
        spec = self._spec.generator_run(source)
        epochs = self._options.max_epochs
        if epochs is not None:
            windows = read_info(source).counts["train"]
            spec = spec.model_copy(update={"train": for_epochs(spec.train, windows, epochs)})
        train_generator.train(spec, RunDirectory(folder), resume=resume, quiet=self._options.quiet)

    def _sample(self, folder: Path, resume: bool) -> None:
        settings = self._spec.augmentation
        how = Sampling(
            sampler=settings.sampler,
            steps=settings.steps,
            guidance=settings.guidance,
            interval=settings.guidance_interval,
            precision=settings.precision,
        )
        sample.run(
            self._folder / "generator",
            out=folder,
            count=settings.per_class,
            seed=self._spec.seed,
            how=how,
            codec=self._folder / "codec",
            device=self._options.device,
        )

    def _evaluate(self, folder: Path, resume: bool) -> None:
        data, spec = self._data, self._spec
        assert data.root is not None, "the split stage has read it"
        inputs = evaluate_augmentation.Inputs(
            real=data.root,
            synthetic=self._folder / "sample",
            manifest=self._folder / "split" / SPLIT,
            type=data.type,
            reading={key: getattr(data, key) for key in _READING if hasattr(data, key)},
            saw=spec.augmentation.budget,
            gait=True if prepared_from_jet(self._folder / "split") else None,
        )
        labelled = bool(read_info(self._folder / "latents").classes)
        evaluate_augmentation.run(
            inputs, spec.evaluation, folder, labelled=labelled, device=self._options.device
        )


def for_epochs(settings: TrainSettings, windows: int, epochs: int) -> TrainSettings:
    """Settings of a training that sees every window so many times."""
    steps = max(1, -(-windows // settings.batch_size) * epochs)
    return settings.model_copy(update={"steps": steps})


def _without_effect(section: str) -> Callable[[str], bool]:
    """`without_effect` of the training whose settings are in a section of the pipeline's."""
    return lambda key: without_effect(key.removeprefix(section))


def _split_output(folder: Path) -> str | None:
    return files_fingerprint(folder) if (folder / SPLIT).is_file() else None


def _codec_output(folder: Path) -> str | None:
    run = RunDirectory(folder)
    return run.fingerprint() if "training" in run.read_manifest() else None


def _manifest_output(folder: Path) -> str | None:
    return files_fingerprint(folder, "manifest.json")


def _generator_output(folder: Path) -> str | None:
    finished = "training" in RunDirectory(folder).read_manifest()
    return files_fingerprint(folder, "weights.safetensors") if finished else None


def _evaluation_output(folder: Path) -> str | None:
    return files_fingerprint(folder, RESULT)
