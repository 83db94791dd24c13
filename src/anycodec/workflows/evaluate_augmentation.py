"""`anycodec evaluate-augmentation` and `evaluate-generation`: are generated samples worth training on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from anycodec.config.data import DataSpec
from anycodec.config.evaluation import StudySpec
from anycodec.engine import Engine, get_engine
from anycodec.errors import UserError
from anycodec.metrics.augmentation import GenerationResult
from anycodec.workflows import generation_scores as scores
from anycodec.workflows.augmentation_figures import Gallery
from anycodec.workflows.augmentation_report import print_result, write_report
from anycodec.workflows.progress import StepsBar
from anycodec.workflows.sample_filter import kept_count
from anycodec.workflows.sample_sets import (
    Layout,
    Parts,
    SampleSet,
    Scale,
    check_classes,
    common_classes,
    find_layout,
    find_pieces,
    find_split,
    load,
)
from anycodec.workflows.split import only_type
from anycodec.workflows.study import Study

SHOWN = 8
"""Pictures or series a row of the report's gallery."""
HORIZON = 0.25
"""Share of a window that is forecast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is compared.

    Attributes:
        real, synthetic: folders, or patterns of files.
        manifest: a split of the real data; None = blocks of time.
        ratios, guard: of the blocks.
        type: kind of files (`data.type`); None = what is found, if it is one kind.
        reading: further settings that real files are read with, as in `data` (columns, layout).
        window: samples a window of series, None = as long as the shortest generated one.
        saw: real samples a class that the generator was trained on; None = those of the training part.
        gait: measure torso line, envelopes and cadence; None = where pictures show levels in jet colours.
    """

    real: Path
    synthetic: Path
    manifest: Path | None = None
    ratios: tuple[float, float, float] = (0.6, 0.1, 0.3)
    guard: int = 4
    type: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    window: int | None = None
    saw: int | None = None
    gait: bool | None = None


@dataclass(frozen=True, slots=True)
class _Data:
    """Both sets as arrays; `look` gives their principal components."""

    layout: Layout
    gait: bool
    classes: tuple[str, ...]
    parts: Parts
    n_val: int
    scale: Scale
    look: scores.Features


@dataclass(frozen=True, slots=True)
class _Judges:
    """What trains classifiers, how, and where."""

    spec: StudySpec
    engine: Engine
    device: str


def run(inputs: Inputs, spec: StudySpec, out: Path, *, labelled: bool, device: str = "auto") -> int:
    """Compare, show the result, and write augmentation.json, figures and report.html.

    Args:
        inputs: what is compared.
        spec: the study of classifiers.
        out: the folder to write.
        labelled: train classifiers of the classes; False = compare as sets only.
        device: auto, cpu or cuda.

    Raises:
        UserError: settings that make no sense.
        DataError: unusable data, classes that don't fit, or too few samples.
    """
    result, gallery = evaluate(inputs, spec, labelled=labelled, device=device)
    write_report(result, gallery, out)
    print_result(result, out)
    return 0


def evaluate(
    inputs: Inputs, spec: StudySpec, *, labelled: bool, device: str = "auto"
) -> tuple[GenerationResult, Gallery]:
    """Everything that is measured, and samples to look at; see `run`."""
    judges = _Judges(spec, get_engine("torch"), device)
    data = _load(inputs, labelled)
    result = _as_sets(inputs, data, judges)
    if labelled:
        result = _with_study(result, data, judges)
    return result, _gallery(data)


def make_spec(
    *,
    seeds: int,
    steps: int,
    budgets: str = "5,10,20,50",
    multiples: str = "1,2,4",
    filter: str = "none",  # noqa: A002
    keep: float = 0.5,
) -> StudySpec:
    """The study that options of the command line describe.

    Raises:
        UserError: settings that make no sense.
    """
    settings = {
        "budgets": _numbers(budgets, "--budgets"),
        "multiples": _numbers(multiples, "--multiples"),
        "seeds": seeds,
        "filter": filter,
        "keep": keep,
        "classifier": {"steps": steps},
    }
    try:
        return StudySpec.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            first["msg"].removeprefix("Value error, "),
            where=f"--{first['loc'][0]}",
            how="for example 5,10,20",
        ) from error


def _numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{text!r} is no list of numbers", where=option, how="for example 5,10,20") from None


def _load(inputs: Inputs, labelled: bool) -> _Data:
    source = _source(inputs)
    split = find_split(source)
    made = _validated({"type": source.type, "root": inputs.synthetic})
    pieces = find_pieces(made)
    classes = common_classes(split, pieces, labelled=labelled)
    layout = find_layout(source, split, pieces, inputs.window)
    train = load(split.train, source, layout, classes, "training")
    test = load(split.test, source, layout, classes, "test")
    generated = load(pieces, made, layout, classes, "generated")
    for samples, what in ((train, "training part"), (test, "test part"), (generated, "generated")):
        check_classes(samples, classes, what, 1 if what == "test part" else 2)
    scale = Scale.of(train)
    gait = layout.jet if inputs.gait is None else inputs.gait
    look = scores.principal_features(train, scale)
    parts = Parts(train, test, generated, len(classes))
    return _Data(layout, gait, classes, parts, len(split.val), scale, look)


def _source(inputs: Inputs) -> DataSpec:
    split: dict[str, Any] = {"type": "time", "ratios": inputs.ratios, "guard": inputs.guard}
    if inputs.manifest is not None:
        split = {"type": "manifest", "path": inputs.manifest}
    settings = {"type": inputs.type or only_type(inputs.real), "root": inputs.real, "split": split}
    try:
        return _validated({**settings, **inputs.reading})
    except ValidationError as error:
        raise UserError(error.errors()[0]["msg"].removeprefix("Value error, "), where="--ratios") from error


def _validated(settings: Mapping[str, Any]) -> DataSpec:
    source: DataSpec = TypeAdapter(DataSpec).validate_python(settings)
    return source


def _as_sets(inputs: Inputs, data: _Data, judges: _Judges) -> GenerationResult:
    """What needs no classes."""
    parts, scale, spec = data.parts, data.scale, judges.spec
    series = None
    if data.layout.length is not None:
        series = scores.series_scores(parts, scale, max(1, round(HORIZON * data.layout.length)))
    return GenerationResult(
        title=f"{inputs.synthetic.name} beside {inputs.real.name}",
        real=str(inputs.real),
        synthetic=str(inputs.synthetic),
        classes=data.classes,
        counts={
            "train": len(parts.train),
            "val": data.n_val,
            "test": len(parts.test),
            "generated": len(parts.generated),
        },
        settings=spec.model_dump(mode="json"),
        split=_split_in_words(inputs),
        saw=inputs.saw if inputs.saw is not None else _least(parts.train),
        sets=scores.set_scores(parts, {"PCA": data.look}),
        descriptors=scores.walk_descriptors(parts) if data.gait and data.layout.pictures else (),
        discrimination=scores.discrimination(parts, scale, spec, judges.engine, judges.device),
        memorisation=scores.closeness(parts, data.look),
        series=series,
    )


def _with_study(result: GenerationResult, data: _Data, judges: _Judges) -> GenerationResult:
    """The same with classifiers, and their features."""
    budgets, multiples, notes = _affordable(judges.spec, data.parts)
    with StepsBar("classifiers") as bar:
        study = Study(data.parts, judges.spec, judges.engine, judges.device, bar.advance)
        bar.total(study.steps(budgets, multiples))
        arms = study.run(budgets, multiples)
        judge = study.judge()
    features = {"classifier": lambda samples: judge.features(data.scale(samples.values))}
    sets = scores.set_scores(data.parts, features) + result.sets
    return replace(result, arms=arms, sets=sets, notes=notes)


def _affordable(spec: StudySpec, parts: Parts) -> tuple[list[int], list[int], tuple[str, ...]]:
    """Budgets and multiples that there are samples for, and what was left out.

    Raises:
        UserError: there are none.
    """
    real, generated = _least(parts.train), _least(parts.generated)
    budgets = [budget for budget in spec.budgets if budget <= real]
    if not budgets:
        raise UserError(
            f"the smallest budget is {spec.budgets[0]} real samples a class, and a class has {real}",
            where="--budgets",
            how=f"use more data, or --budgets {max(2, real)}",
        )
    filtered = spec.filter != "none"
    pool = kept_count(generated, spec.keep) if filtered else generated
    multiples = [multiple for multiple in spec.multiples if multiple * budgets[-1] <= pool]
    if not multiples:
        raise UserError(
            f"{spec.multiples[0] * budgets[-1]} generated samples of each class are needed, there are {pool}"
            + (f" after the filter, which keeps {spec.keep:.0%}" if filtered else ""),
            where="--multiples",
            how=f"generate more: anycodec sample RUN --count N, or use --budgets below {budgets[-1]}",
        )
    left_out = [f"budget {b}: a class has fewer training samples" for b in spec.budgets if b not in budgets]
    left_out += [
        f"{m}x generated: a class has only {pool} samples to choose from"
        for m in spec.multiples
        if m not in multiples
    ]
    return budgets, multiples, tuple(left_out)


def _least(samples: SampleSet) -> int:
    return int(np.unique(samples.labels, return_counts=True)[1].min())


def _split_in_words(inputs: Inputs) -> str:
    if inputs.manifest is not None:
        return f"manifest {inputs.manifest}"
    shares = " / ".join(f"{share:g}" for share in inputs.ratios)
    return f"blocks of time, {shares} with a guard of {inputs.guard}"


def _gallery(data: _Data) -> Gallery:
    """Generated samples beside real ones of their class, and those nearest to a training sample beside it."""
    parts = data.parts
    pairs = scores.closest_pairs(parts, data.look, SHOWN)
    rows = [
        (name, _some(parts.test, label), _some(parts.generated, label))
        for label, name in list(enumerate(data.classes))[:SHOWN]
    ]
    return Gallery(
        rows=tuple(rows),
        closest=tuple((parts.generated.values[a], parts.train.values[b]) for a, b in pairs),
        pictures=data.layout.pictures,
        jet=data.gait and data.layout.channels == 1,
    )


def _some(samples: SampleSet, label: int, count: int = SHOWN // 2) -> Sequence[NDArray[np.float32]]:
    """Samples of a class, evenly over its time."""
    rows = np.flatnonzero(samples.labels == label)
    return [samples.values[i] for i in rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]]
