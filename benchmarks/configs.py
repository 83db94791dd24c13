"""The video and micro-Doppler configurations, each run as its header says: time, memory, rate and error.

Trained and evaluated by the command line, on recorded files of ../shared/data and on built-in samples.
Runs that exist under --runs are used as they are. Video configurations are also trained on pictures,
shortly. Runs with a discriminator are drawn over their steps: docs/images/adversarial.png.

    python benchmarks/configs.py --runs runs/configs                    # an hour and a half on two cores
    python benchmarks/configs.py --runs runs/tiny --steps 20 --cases video-dvae
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
from anycodec.checkpoint import RunDirectory
from anycodec.metrics.evaluation import Evaluation
from anycodec.workflows.report import evaluation_path

FALL = 1.0
"""dB of PSNR that a discriminator may cost."""
CODES_USED = 0.95
SPREAD = 3.0
"""A critic is stable if its last thousand gaps between real and fake are below this many earlier ones."""
PICTURE_STEPS = 400
PICTURES = (
    "data.type=image",
    "data.window={size: [64, 64]}",
    "data.split={type: file, ratios: [0.7, 0.15, 0.15]}",
    f"train.steps={PICTURE_STEPS}",
    "train.val_every=100",
    "adversarial=null",
)
"""Settings that turn a video configuration into one for pictures."""
WATCHED = ("train.keep_best=[val/psnr, val/lpips_vgg]",)
"""LPIPS through a network that the training does not look through."""


@dataclass(frozen=True, slots=True)
class Case:
    """A configuration and its files.

    Attributes:
        config: name in configs/.
        root: `data.root` under the folder of recorded files, or `samples KIND [OPTIONS]`.
        settings: further settings.
    """

    config: str
    root: str
    settings: Sequence[str] = ()


CLIPS = "vision/video/[bc]*.mp4"
VIDEO = ("video-dvae", "video-vqvae2", "video-optvq", "video-emavq", "video-vqgan", "video-causal")
CASES = {
    **{name: Case(name, CLIPS) for name in VIDEO},
    "video-vqgan": Case("video-vqgan", CLIPS, WATCHED),
    **{f"{name}, pictures": Case(name, "vision/kodak", PICTURES) for name in VIDEO[:5]},
    "microdoppler-vqgan": Case("microdoppler-vqgan", "gait10", WATCHED),
    "microdoppler-vqgan, built-in": Case("microdoppler-vqgan", "samples gait", WATCHED),
}
QUICK = Case(
    "video-dvae",
    "samples images --size small",
    (*PICTURES, "codec.base_channels=8", "codec.quantizer.codebook_size=16", "data.workers=0"),
)


def trained(case: Case, root: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train into `folder` unless that is done; what it cost is kept beside the run."""
    cost = folder / "cost.json"
    if not cost.is_file():
        settings = [f"data.root={root}", *case.settings]
        if options.steps:
            settings += [
                f"train.steps={options.steps}",
                f"train.val_every={options.steps}",
                "adversarial=null",
            ]
        if options.threads:
            settings.append(f"train.threads={options.threads}")
        config = common.ROOT / "configs" / f"{case.config}.yaml"
        training = common.run(common.anycodec("train", config, *settings, "--quiet", "--out", folder))
        cost.write_text(json.dumps({"seconds": training.seconds, "peak_rss": training.peak_rss}))
    found: dict[str, Any] = json.loads(cost.read_text())
    return found


def evaluation(run: RunDirectory, net: str | None) -> Evaluation:
    """How the run does on its test split, LPIPS through `net` among the figures."""
    path = evaluation_path(run)
    found = Evaluation.from_json(path.read_text(encoding="utf-8")) if path.is_file() else None
    if found is None or (net and f"lpips_{net}" not in found.codec.original):
        common.run(common.anycodec("evaluate", run.path, *(["--lpips", net] if net else [])))
        found = Evaluation.from_json(path.read_text(encoding="utf-8"))
    return found


def measure(case: Case, root: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one case."""
    cost = trained(case, root, folder, options)
    run, net = RunDirectory(folder), options.lpips
    found = evaluation(run, net)
    return {
        "config": case.config,
        "settings": list(case.settings),
        "parameters": run.read_manifest().get("parameters"),
        "steps": run.spec().train.steps,
        "threads": run.spec().train.threads,
        "minutes": cost["seconds"] / 60,
        "peak_mib": cost["peak_rss"] / common.MIB,
        "bits_per_pixel": found.codec.rate.bits_per_pixel if found.codec.rate else None,
        "codec": dict(found.codec.original),
        "baseline": dict(found.baseline.original) if found.baseline else None,
        "baseline_bits_per_pixel": found.baseline.rate.bits_per_pixel
        if found.baseline and found.baseline.rate
        else None,
        "lpips_net": net,
        "codes": [len(level) for level in found.token_counts],
        "codes_used": [sum(count > 0 for count in level) for level in found.token_counts],
        "codes_used_anywhere": used_anywhere(run),
        "adversarial": contest(run) if run.spec().adversarial else None,
    }


# --- what a discriminator did -------------------------------------------------------------------


def column(run: RunDirectory, name: str) -> list[tuple[int, float]]:
    """(step, figure) of a column of metrics.csv, where there is one."""
    with run.metrics.open(encoding="utf-8", newline="") as file:
        rows = [(int(row["step"]), row.get(name)) for row in csv.DictReader(file)]
    return [(step, float(value)) for step, value in rows if value]


def contest(run: RunDirectory) -> dict[str, Any]:
    """Reconstruction before the adversarial term counted, and after; what the critic said."""
    spec = run.spec().adversarial
    assert spec is not None
    figures: dict[str, Any] = {"start": spec.start}
    for name in ("psnr", "ssim", "lpips_alex", "lpips_vgg"):
        course = column(run, f"val/{name}")
        before = [value for step, value in course if step <= spec.start]
        after = [value for step, value in course if step > spec.start]
        seen = bool(before and after)
        figures[name] = {"before": before[-1], "after": after, "last": after[-1]} if seen else None
    full = spec.start + spec.ramp
    real, fake = (dict(column(run, f"train/logits_{side}")) for side in ("real", "fake"))
    gaps = {step: abs(real[step] - fake[step]) for step in real.keys() & fake.keys() if step > full}
    last = max(gaps, default=0)
    figures["gap_first_1000"] = mean(gaps[step] for step in gaps if step <= full + 1000)
    figures["gap_last_1000"] = mean(gaps[step] for step in gaps if step > last - 1000)
    figures["largest_logit"] = max((abs(v) for v in (*real.values(), *fake.values())), default=None)
    figures["skipped_updates"] = column(run, "train/skipped_updates")[-1][1]
    return figures


def mean(values: Iterator[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def claims(name: str, found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What issue 4 asks of the runs with a discriminator."""
    health = found["adversarial"]
    if not health:
        return
    if health["psnr"]:
        fall = health["psnr"]["before"] - min(health["psnr"]["after"])
        yield common.verdict(f"{name}: dB of PSNR lost to the discriminator", fall, FALL, below=True)
    if health["lpips_vgg"]:
        change = health["lpips_vgg"]["last"] / health["lpips_vgg"]["before"]
        yield common.verdict(f"{name}: LPIPS (VGG) after over before", change, 1.0, below=True)
    if health["gap_first_1000"]:
        spread = health["gap_last_1000"] / health["gap_first_1000"]
        yield common.verdict(f"{name}: gap of the logits, last over first 1,000", spread, SPREAD, below=True)
    if found["config"].startswith("microdoppler"):
        used = min(n / codes for n, codes in zip(found["codes_used_anywhere"], found["codes"], strict=True))
        yield common.verdict(
            f"{name}: share of codes in use, windows at any position", used, CODES_USED, below=False
        )


def draw(runs: Mapping[str, RunDirectory], path: Path) -> None:
    """PSNR, LPIPS and logits over the steps, a column a run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = {
        "PSNR (dB)": ("val/psnr",),
        "LPIPS": ("val/lpips_alex", "val/lpips_vgg"),
        "logits": ("train/logits_real", "train/logits_fake"),
    }
    figure, axes = plt.subplots(
        len(rows), len(runs), figsize=(4.6 * len(runs), 6.4), sharex="col", squeeze=False
    )
    for across, (title, run) in enumerate(runs.items()):
        spec = run.spec().adversarial
        assert spec is not None
        for down, (label, names) in enumerate(rows.items()):
            axis = axes[down][across]
            for name in names:
                course = column(run, name)
                axis.plot(*zip(*course, strict=True), label=name.rpartition("_")[2])
            axis.axvspan(spec.start - spec.lead, spec.start, color="0.93")
            axis.axvline(spec.start, color="0.4", linestyle="--", linewidth=1)
            axis.grid(alpha=0.3)
            if not across:
                axis.set_ylabel(label)
            if len(names) > 1:
                axis.legend(fontsize=8)
        axes[0][across].set_title(title, fontsize=10)
        axes[-1][across].set_xlabel("step (grey: discriminator alone; dashed: its term counts)", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


# --- the table ----------------------------------------------------------------------------------


def used_anywhere(run: RunDirectory) -> list[int]:
    """Codes in use, a level, in training windows cut at any position.

    Pictures are evaluated on one fixed grid of windows. The built-in ones consist of squares of 4 x 4 equal
    pixels, of which a fixed grid shows a codec one alignment alone, and so fewer codes.
    """
    counts = {
        name: value for name, value in run.read_statistics().items() if name.startswith("token_counts.")
    }
    return [int((counts[f"token_counts.{level}"] > 0).sum()) for level in range(len(counts))]


def shares(found: Mapping[str, Any]) -> list[float]:
    """Share of the codes in use on the test split, a level."""
    return [used / codes for used, codes in zip(found["codes_used"], found["codes"], strict=True)]


def markdown(tables: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "| settings | training | memory | bits/pixel | PSNR | SSIM | LPIPS | codes in use |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in tables.items():
        codec = found["codec"]
        used = ", ".join(f"{share:.0%}" for share in shares(found))
        lpips = codec.get(f"lpips_{found['lpips_net']}", float("nan"))
        lines.append(
            f"| {name} | {found['steps']:,} steps, {found['minutes']:.1f} min | {found['peak_mib']:,.0f} MiB "
            f"| {found['bits_per_pixel']:.3f} | {codec['psnr']:.2f} dB | {codec['ssim']:.3f} "
            f"| {lpips:.3f} | {used} |"
        )
    return "\n".join(lines) + "\n"


def source(case: Case, data: Path, folder: Path) -> Path:
    """The files of a case; built-in ones are written once."""
    if not case.root.startswith("samples "):
        return data / case.root
    root = folder / "samples"
    if not root.is_dir():
        common.run(common.anycodec(*case.root.split()[:2], root, *case.root.split()[2:]))
    return root


def options_of() -> argparse.Namespace:
    parser = common.arguments(__doc__)
    parser.add_argument("--runs", type=Path, help="folder of runs, one a case (default: a temporary one)")
    parser.add_argument("--data", type=Path, default=common.REAL_DATA, help="folder of recorded files")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--steps", type=int, help="training steps of runs that are not there yet")
    parser.add_argument("--threads", type=int, help="CPU threads of the trainings (default: all cores)")
    parser.add_argument("--lpips", choices=["alex", "vgg"], default="alex", help="network of the evaluation")
    parser.add_argument("--figure", type=Path, help="where to draw the runs with a discriminator")
    options: argparse.Namespace = parser.parse_args()
    if options.quick:
        options.steps, options.lpips = 2, None
    elif not options.data.is_dir():
        parser.exit(0, f"no recorded files at {options.data}: nothing to measure (--data, or --quick)\n")
    return options


def main() -> None:
    options = options_of()
    tables: dict[str, dict[str, Any]] = {}
    drawn: dict[str, RunDirectory] = {}
    cases = {"video-dvae": QUICK} if options.quick else {name: CASES[name] for name in options.cases}
    with common.workspace(options.runs) as folder:
        for name, case in cases.items():
            run = folder / name.replace(", ", "-")
            root = source(case, options.data, folder)
            tables[name] = measure(case, root, run, options)
            if tables[name]["adversarial"]:
                drawn[name] = RunDirectory(run)
        if options.figure and drawn:
            draw(drawn, options.figure)
    print(markdown(tables))
    found = [claim for name, table in tables.items() for claim in claims(name, table)]
    common.save("configs", options, {"claims": found, "tables": tables})


if __name__ == "__main__":
    main()
