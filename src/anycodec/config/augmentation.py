"""The whole configuration of `anycodec augment`: from real pictures or series to a judged generator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model

from anycodec.config.base import Spec
from anycodec.config.data import DataSpec, ImageSource, ManifestSplit
from anycodec.config.evaluation import StudySpec
from anycodec.config.generation import GeneratorRunSpec, GeneratorTrainSpec, generation_cross_check
from anycodec.config.run import RunSpec, cross_check
from anycodec.config.train import LoopSpec, TrainSpec
from anycodec.errors import UserError

SamplerName = Literal["euler", "heun", "ddim", "ddpm", "dpm"]


def _less(spec: type[Spec], name: str, description: str, *left_out: str) -> Any:
    """A section with the settings of a run, but for those that the pipeline decides."""
    fields: dict[str, Any] = {
        key: (info.annotation, info) for key, info in spec.model_fields.items() if key not in left_out
    }
    return create_model(name, __base__=Spec, __doc__=description, **fields)


if TYPE_CHECKING:

    class CodecStage(Spec):
        """What trains the codec."""

        train: TrainSpec

    class GeneratorStage(Spec):
        """What trains the generator."""

        train: GeneratorTrainSpec

else:
    CodecStage = _less(RunSpec, "CodecStage", "What trains the codec.", "name", "seed", "data")
    GeneratorStage = _less(
        GeneratorRunSpec, "GeneratorStage", "What trains the generator.", "name", "seed", "latents"
    )


class AugmentationSpec(Spec):
    """What the generator may learn from, and what it is asked for."""

    budget: int | None = Field(
        None,
        ge=2,
        description="real samples a class that the codec and the generator learn from; null = the whole "
        "training part",
    )
    per_class: int = Field(200, ge=2, description="samples of each class to generate")
    sampler: SamplerName | None = Field(
        None, description="how samples are drawn; null = the usual one of the process"
    )
    steps: int | None = Field(None, ge=1, description="steps of the sampler; null = as usual")
    guidance: float = Field(1.5, ge=0, description="strength of the class; 1 = as it was trained")
    guidance_interval: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (
        Field((0.0, 1.0), description="times at which guidance counts; 0 = noise, 1 = data")
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="compute precision of drawing")


class AugmentationRunSpec(Spec):
    """Everything that decides an augmentation: data, codec, generator, samples and their evaluation."""

    name: str = Field(
        "augment", pattern=r"^[A-Za-z0-9._-]+$", description="name of the pipeline and its default folder"
    )
    seed: int = Field(0, ge=0, description="seed of everything that is drawn")
    data: DataSpec = Field(description="the real data, its windows and its split")
    shrink: bool = Field(
        False,
        description="bring whole pictures to data.window.size first, each cell the mean of the area it "
        "covers; jet colours become grey levels",
    )
    augmentation: AugmentationSpec = Field(
        default_factory=AugmentationSpec, description="what is learned from, and the samples"
    )
    codec: CodecStage = Field(description="the codec and its training")
    generator: GeneratorStage = Field(description="the generator and its training")
    evaluation: StudySpec = Field(default_factory=StudySpec, description="how they are judged")

    def codec_run(self, data: DataSpec) -> RunSpec:
        """The codec's training on that data."""
        settings = self.codec.model_dump()
        return RunSpec(name=self.name, seed=self.seed, data=data, **settings)

    def generator_run(self, latents: Path) -> GeneratorRunSpec:
        """The generator's training on those latents."""
        return GeneratorRunSpec(
            name=self.name, seed=self.seed, latents=latents, **self.generator.model_dump()
        )


def augmentation_cross_check(spec: AugmentationRunSpec) -> list[tuple[str, UserError]]:
    """Mistakes that need several settings at once, each with the dotted key that holds it."""
    found = [
        (key if key.startswith("data.") else f"codec.{key}", mistake)
        for key, mistake in cross_check(spec.codec_run(spec.data))
    ]
    generator = spec.generator_run(Path("latents"))
    found += [(f"generator.{key}", mistake) for key, mistake in generation_cross_check(generator)]
    return [*found, *_own_mistakes(spec)]


def _own_mistakes(spec: AugmentationRunSpec) -> Iterator[tuple[str, UserError]]:
    if spec.shrink and not isinstance(spec.data, ImageSource):
        what = f"data of type {spec.data.type} has no pictures to shrink"
        yield "shrink", UserError(what, how="shrink=false")
    if isinstance(spec.data.split, ManifestSplit) and spec.augmentation.budget is not None:
        what = "a manifest says what is learned from already"
        how = "augmentation.budget=null, or another data.split.type"
        yield "augmentation.budget", UserError(what, how=how)
    for key, training in (("codec", spec.codec.train), ("generator", spec.generator.train)):
        yield from ((f"{key}.train.{setting}", mistake) for setting, mistake in _of_devices(training))
    process, sampler = spec.generator_run(Path("latents")).process, spec.augmentation.sampler
    if process is not None and sampler is not None and sampler not in process.samplers:
        what = f"the process {process.type} can't be sampled by {sampler}"
        yield "augmentation.sampler", UserError(what, how=f"one of {', '.join(process.samplers)}, or null")


def _of_devices(training: LoopSpec) -> Iterator[tuple[str, UserError]]:
    """What a training would refuse only once the stages before it have taken their time."""
    devices = training.devices or 1
    if training.num_nodes > 1:
        yield "num_nodes", UserError("a pipeline trains on one machine", how="num_nodes=1, and devices=N")
    elif devices == 1 and training.strategy is not None:
        what = f"{training.strategy} divides the work among devices, and there is one"
        yield "strategy", UserError(what, how="add --devices N, or leave the strategy out")
    if training.batch_size % devices:
        what = f"{devices} devices can't share a batch of {training.batch_size} evenly"
        yield "batch_size", UserError(what, how=f"use a multiple of {devices}, or fewer devices")
