"""What aligning latents with a network's features is worth: the same codec and DiT with it and without.

Each arm is an `anycodec augment` of configs/gait-small.yaml, without a discriminator: split in blocks of
time, codec, latents, DiT, samples and their evaluation, equal in data, seeds and steps. The aligned arm's
teacher is a classifier trained on the same training part (configs/features-gait.yaml).

* reconstruction: PSNR and SNR of the validation part after the codec's last step;
* loss of the generator on the validation part, at each validation. Latents are normalised a channel, so that
  always predicting 0 costs the same in both arms; what is left to know about them may still differ;
* samples: KID to real test pictures in features of a classifier and in principal components, accuracy of
  classifiers trained on samples alone (TSTR) and on ten real pictures a person with 4x samples.

Recorded pictures are wanted in ../shared/data/gait10, or `--data DIR`; --quick takes built-in ones. Runs
that exist under --runs go on where they stopped.

    taskset -c 1 python benchmarks/alignment.py --runs runs/alignment         # half an hour a seed on a core
"""

from __future__ import annotations

import csv
import json
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
from anycodec.checkpoint import RunDirectory
from anycodec.workflows import augment, samples, training
from anycodec.workflows.prepare import PICTURES, SPLIT

ARMS = ("plain", "aligned")
STAGES = (
    "[{weight: 0.5, cosine_margin: 0, distance_margin: 0},"
    " {weight: 0.1, cosine_margin: 0.5, distance_margin: 0.25}]"
)
"""First close to the features, then free within the margins, as in configs/gait-vavae.yaml."""
CONFIGS = common.ROOT / "configs"
RECONSTRUCTION = ("val/psnr", "val/snr", "val/ssim")


@dataclass(frozen=True, slots=True)
class Size:
    """How long everything is trained.

    Attributes:
        teacher, codec, generator: steps.
        settings: further settings of the pipeline.
    """

    teacher: int
    codec: int
    generator: int
    settings: Sequence[str]

    @property
    def pipeline(self) -> list[str]:
        """Settings of both arms."""
        return [
            "codec.adversarial=null",
            f"codec.train.steps={self.codec}",
            f"codec.train.val_every={max(1, self.codec // 4)}",
            f"generator.train.steps={self.generator}",
            f"generator.train.val_every={max(1, self.generator // 4)}",
            "codec.train.threads=1",
            "generator.train.threads=1",
            *self.settings,
        ]


FULL = Size(
    teacher=600,
    codec=1000,
    generator=1000,
    settings=(
        "codec.train.batch_size=8",
        "generator.train.batch_size=16",
        "augmentation.per_class=45",
        "evaluation.budgets=[10]",
        "evaluation.multiples=[4]",
    ),
)
QUICK = Size(
    teacher=2,
    codec=2,
    generator=2,
    settings=(
        "data.split.guard=1",
        "data.workers=0",
        "augmentation.per_class=4",
        "augmentation.steps=2",
        "evaluation.budgets=[2]",
        "evaluation.multiples=[1]",
        "evaluation.seeds=1",
        "evaluation.classifier.steps=2",
        "generator.generator={type: dit, width: 24, depth: 1, heads: 1}",
    ),
)


def built_in(folder: Path) -> Path:
    """Pictures of three simulated people."""
    samples.run("gait", folder)
    for person in folder.glob("ID_*"):
        if person.name not in ("ID_1", "ID_2", "ID_3"):
            shutil.rmtree(person)
    return folder


def teacher(size: Size, split: Path, run: RunDirectory) -> RunDirectory:
    """The feature network, trained on the training part of a finished split."""
    if "training" not in run.read_manifest():
        settings = [
            f"data.root={split / PICTURES}",
            f"data.split={{type: manifest, path: {split / SPLIT}}}",
            "data.mode=grey",
            "data.window.size=[64,64]",
            "data.workers=0",
            "features.network.channel_multipliers=[1,2,4]",  # a feature for each place of the latents
            f"train.steps={size.teacher}",
            f"train.val_every={max(1, size.teacher // 6)}",
            "train.threads=1",
        ]
        training.run(CONFIGS / "features-gait.yaml", settings, run.path, run.config.is_file(), True)
    return run


def finished(arm: str, size: Size, data: Path, seed: int, runs: Path) -> Path:
    """The folder of an arm's pipeline, run to its end."""
    folder = runs / f"{arm}-{seed}"
    settings = [f"data.root={data}", f"seed={seed}", *size.pipeline]
    if arm == "aligned":
        features = teacher(size, runs / f"plain-{seed}" / "split", RunDirectory(runs / f"teacher-{seed}"))
        settings += [
            f"codec.alignment.teacher={{type: run, path: {features.path}}}",
            f"codec.alignment.stages={STAGES}",
        ]
    augment.run(CONFIGS / "gait-small.yaml", settings, folder, augment.Options(device="cpu", quiet=True))
    return folder


def courses(run: RunDirectory, names: Sequence[str]) -> dict[str, dict[int, float]]:
    """Figures of columns of metrics.csv by step."""
    with run.metrics.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: {int(row["step"]): float(row[name]) for row in rows if row.get(name)} for name in names}


def figures(folder: Path) -> dict[str, Any]:
    """What an arm came to."""
    codec, generator = RunDirectory(folder / "codec"), RunDirectory(folder / "generator")
    study = json.loads((folder / "evaluation" / "augmentation.json").read_text(encoding="utf-8"))
    accuracies = {
        f"{arm['classifier']}, {arm['name']}" + (f", {arm['budget']} real" if arm["budget"] else ""): 100
        * statistics.mean(arm["accuracies"])
        for arm in study["arms"]
    }
    return {
        "reconstruction": {name: last(c) for name, c in courses(codec, RECONSTRUCTION).items() if c},
        "generator_loss": courses(generator, ["val/loss"])["val/loss"],
        "alignment": {
            name: last(course)
            for name, course in courses(
                codec, ["train/alignment_cosine", "train/alignment_distance", "train/alignment_weight"]
            ).items()
            if course
        },
        "kid": {
            f"{row['samples']}, {row['features']}": {"kid": row["kid"], "deviation": row["kid_deviation"]}
            for row in study["sets"]
        },
        "sets": study["sets"],
        "accuracy": accuracies,
        "distance_ratio": study["memorisation"]["ratio"],
        "seconds": {
            name: run.read_manifest()["training"]["seconds"]
            for name, run in (("codec", codec), ("generator", generator))
        },
    }


def last(course: Mapping[int, float]) -> float:
    return course[max(course)]


def show(arms: Mapping[str, Mapping[str, Any]]) -> None:
    for name, arm in arms.items():
        generated = {key: row["kid"] for key, row in arm["kid"].items() if key.startswith("generated")}
        print(
            f"{name:10} {arm['reconstruction']}\n  generator {arm['generator_loss']}\n  KID {generated}"
            f"\n  accuracy {arm['accuracy']}"
        )


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--data", type=Path, default=common.REAL_DATA / "gait10", help="folders of pictures")
    parser.add_argument("--runs", type=Path, help="folder that keeps the runs")
    parser.add_argument("--seeds", type=int, default=1, help="repetitions (default: 1)")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    if not options.quick and not options.data.is_dir():
        sys.exit(f"{options.data} is not there: give recorded pictures with --data")
    with common.workspace(options.runs) as runs:
        data = built_in(runs / "walkers") if options.quick else options.data
        found: dict[str, Any] = {}
        for seed in range(options.seeds):
            for arm in ARMS:
                found[f"{arm}, seed {seed}"] = figures(finished(arm, size, data, seed, runs))
            show(found)
            steps = {"teacher": size.teacher, "codec": size.codec, "generator": size.generator}
            common.save("alignment", options, {"steps": steps, "settings": size.pipeline, "arms": found})


if __name__ == "__main__":
    main()
