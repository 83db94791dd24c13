"""Which levers make generated samples more useful: one at a time, on a finished `anycodec augment`.

    python benchmarks/augmentation_levers.py RUN        # the folder of a pipeline whose generator is trained

The samples of each variant are drawn from the same codec and generator and with the same seed, and judged by
the same study: real samples alone, with classical augmentation, and with generated samples, on the same draws
of real samples, tested on the same test part. Variants are guidance, steps, more samples than the pipeline
drew, the generator's last weights in place of their average (EMA), and the filters.

Without a RUN, and with --quick, a tiny pipeline on the built-in gait is trained first, which proves nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

import common
from anycodec.checkpoint import RunDirectory
from anycodec.config.evaluation import StudySpec
from anycodec.engine import Sampling
from anycodec.metrics.augmentation import CLASSICAL, REAL, TRTR, TSTR, GenerationResult, synthetic_arm
from anycodec.workflows import evaluate_augmentation, sample
from anycodec.workflows.evaluate_augmentation import Inputs
from anycodec.workflows.prepare import PICTURES, SPLIT
from anycodec.workflows.sample import MANIFEST

BUDGET = 10
QUICK = [
    "data.window.size=[16, 16]", "data.workers=0", "augmentation.per_class=10", "augmentation.steps=2",
    "augmentation.precision=fp32",
    "codec.codec.base_channels=4", "codec.codec.channel_multipliers=[1, 2]", "codec.codec.norm_groups=2",
    "codec.codec.latent_channels=2", "codec.adversarial=null", "codec.train.steps=2",
    "codec.train.val_every=2", "codec.train.precision=fp32",
    "generator.generator.width=8", "generator.generator.depth=1",
    "generator.generator.heads=1", "generator.train.steps=2", "generator.train.val_every=2",
    "generator.train.precision=fp32",
    "evaluation.budgets=[2]", "evaluation.multiples=[1]", "evaluation.seeds=1",
    "evaluation.classifier.steps=2",
]  # fmt: skip
"""Settings of --quick."""


@dataclass(frozen=True, slots=True)
class Lever:
    """A change of how samples are drawn, how many, or which of them are used.

    Attributes:
        name: in the table.
        how: settings of the sampler.
        averaged: draw with the average of the weights (EMA), not with the last ones.
        multiple: generated samples for each real one.
        pool: samples that are drawn, as a multiple of the pipeline's number.
        filter: of the study; keeps half of the pool.
    """

    name: str
    how: Sampling
    averaged: bool = True
    multiple: int = 4
    pool: int = 1
    filter: str = "none"


def levers(usual: Sampling, most: int) -> list[Lever]:
    """What is compared; `most` = the largest multiple that the pipeline's samples are enough for."""
    steps = usual.steps or 25
    return [
        Lever("as the pipeline draws", usual),
        Lever(f"{most}x", usual, multiple=most),
        Lever("last weights, no EMA", usual, averaged=False),
        Lever("filter by confidence", usual, filter="confidence"),
        Lever("guidance 2.5", replace(usual, guidance=2.5)),
        Lever("guidance 1", replace(usual, guidance=1.0)),
        Lever("filter by density", usual, filter="density"),
        Lever("twice the steps", replace(usual, steps=2 * steps)),
        Lever("guidance 4", replace(usual, guidance=4.0)),
        Lever(f"{2 * most}x", usual, multiple=2 * most, pool=2),
    ]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What a finished `anycodec augment` left.

    Attributes:
        folder: of it.
        usual: how it drew samples.
        count: samples a class that it drew.
        seed: of the samples.
        study: settings of its evaluation.
    """

    folder: Path
    usual: Sampling
    count: int
    seed: int
    study: StudySpec

    @classmethod
    def read(cls, folder: Path) -> Pipeline:
        drawn = json.loads((folder / "sample" / MANIFEST).read_text(encoding="utf-8"))
        judged = json.loads((folder / "evaluation" / "augmentation.json").read_text(encoding="utf-8"))
        known = {field.name for field in fields(Sampling)}
        how = {name: value for name, value in drawn["how"].items() if name in known}
        how["interval"] = tuple(how["interval"])
        study = StudySpec.model_validate(judged["settings"])
        return cls(folder, Sampling(**how), drawn["count"], drawn["seed"], study)


def with_last_weights(run: Path, out: Path) -> Path:
    """A copy of a generator's run that draws with the weights of its last step."""
    shutil.copytree(run, out, ignore=shutil.ignore_patterns("resume"))
    state = torch.load(run / "resume" / "state.pt", map_location="cpu", weights_only=True)
    save_file(state["network"], out / RunDirectory(out).weights.name)
    return out


def judge(pipeline: Pipeline, lever: Lever, samples: Path, budget: int) -> GenerationResult:
    inputs = Inputs(
        real=pipeline.folder / "split" / PICTURES,
        synthetic=samples,
        manifest=pipeline.folder / "split" / SPLIT,
        type="image",
    )
    changes = {"budgets": (budget,), "multiples": (lever.multiple,), "filter": lever.filter}
    study = pipeline.study.model_copy(update=changes)
    return evaluate_augmentation.evaluate(inputs, study, labelled=True, device="cpu")[0]


def row(lever: Lever, result: GenerationResult, budget: int) -> dict[str, Any]:
    """The figures of a lever; accuracies and gains in percent and points, with the half of their interval."""
    found: dict[str, Any] = {"lever": lever.name, "how": asdict(lever)}
    names = {
        "real": (REAL, budget), "classical": (CLASSICAL, budget),
        "generated": (synthetic_arm(lever.multiple), budget), "tstr": (TSTR, None), "trtr": (TRTR, None),
    }  # fmt: skip
    for classifier in ("cnn", "lda"):
        for name, (arm_name, at) in names.items():
            arm = result.arm(arm_name, at, classifier)
            if arm is None:
                continue
            found[f"{classifier} {name}"] = [100 * arm.interval.mean, 100 * arm.interval.half]
            gain = result.gain(arm) if name == "generated" else None
            if gain is not None:
                found[f"{classifier} gain"] = [100 * gain.mean, 100 * gain.half]
    scores = next(s for s in result.sets if s.samples == "generated" and s.features == "PCA")
    return found | {"kid": scores.kid, "density": scores.density, "coverage": scores.coverage}


def compare(pipeline: Pipeline, folder: Path, options: argparse.Namespace) -> None:
    budget = 2 if options.quick else BUDGET
    chosen = levers(pipeline.usual, pipeline.count // budget)
    if options.quick:
        chosen = [replace(lever, multiple=min(2, lever.multiple)) for lever in chosen[:1] + chosen[2:4]]
    rows: list[dict[str, Any]] = []
    pools: dict[tuple[Any, ...], Path] = {}
    for lever in chosen:
        start = time.process_time()
        key = (lever.how, lever.averaged, lever.pool)
        if key not in pools:
            pools[key] = folder / f"samples-{len(pools)}"
            run = pipeline.folder / "generator"
            run = run if lever.averaged else with_last_weights(run, folder / "last")
            count, codec = lever.pool * pipeline.count, pipeline.folder / "codec"
            sample.run(
                run, out=pools[key], count=count, seed=pipeline.seed, how=lever.how, codec=codec, device="cpu"
            )
        rows.append(row(lever, judge(pipeline, lever, pools[key], budget), budget))
        rows[-1]["processor_seconds"] = time.process_time() - start
        show(rows[-1:])
        common.save("augmentation_levers", options, {"pipeline": pipeline.folder.name, "rows": rows})


def show(rows: Sequence[dict[str, Any]]) -> None:
    for found in rows:
        figures = (f"{name} {found[name][0]:.1f} +- {found[name][1]:.1f}" for name in
                   ("cnn generated", "cnn gain", "cnn tstr", "lda generated") if name in found)  # fmt: skip
        print(f"{found['lever']}: {', '.join(figures)}, KID {1000 * found['kid']:.1f} / 1000", flush=True)


def tiny(folder: Path) -> Path:
    """A pipeline that went through, of no use."""
    common.run(common.anycodec("samples", "gait", folder / "all", "--size", "small"))
    (folder / "walkers").mkdir()
    for person in range(1, 4):
        shutil.move(folder / "all" / f"ID_{person}", folder / "walkers" / f"ID_{person}")
    config, out = common.ROOT / "configs" / "gait-small.yaml", folder / "pipeline"
    root = f"data.root={folder / 'walkers'}"
    common.run(common.anycodec("augment", config, root, *QUICK, "--device", "cpu", "--quiet", "--out", out))
    return out


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument(
        "run", type=Path, nargs="?", help="folder of a finished `anycodec augment` of pictures"
    )
    parser.add_argument("--seeds", type=int, help="repetitions (default: as many as the pipeline's)")
    options = parser.parse_args()
    with common.workspace() as folder:
        pipeline = Pipeline.read(tiny(folder) if options.run is None or options.quick else options.run)
        if options.seeds is not None:
            study = pipeline.study.model_copy(update={"seeds": options.seeds})
            pipeline = replace(pipeline, study=study)
        compare(pipeline, folder, options)


if __name__ == "__main__":
    main()
