"""The main job on recorded files: train, compress, decompress, evaluate, and look at what came back.

Each of `configs/{nanopore,series,images,video}.yaml` on files of ../shared/data. Runs that exist
under --runs are used as they are; the others are trained there (--steps, or the configuration's own).

    python benchmarks/real_files.py --runs runs/real               # as configured: hours
    python benchmarks/real_files.py --runs runs/tiny --steps 20    # shows that it works

Rates count everything in the `.acz` file. Errors are those of the test split; k-means VQ of raw
patches at the same rate stands beside them. Beside the JSON: a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
from anycodec.checkpoint import RunDirectory
from anycodec.config.loader import load_spec
from anycodec.metrics.evaluation import Evaluation, Result
from anycodec.workflows import compress, decompress, evaluate
from anycodec.workflows.report import evaluation_path
from anycodec.workflows.train import train
from restored_files import check_image, check_pod5, check_table, check_video

NANOPORE_GAIN = 2.0
"""dB of SNR over k-means at equal rate."""
NANOPORE_SECONDS = 20 * 60
TINY = [
    "codec.base_channels=8",
    "codec.channels=[8]",
    "codec.res_blocks=0",
    "codec.mid_blocks=0",
    "codec.quantizer.quantizer.codebook_size=16",
    "train.batch_size=4",
    "train.val_batches=1",
    "data.workers=0",
]
"""Settings of --quick."""
COLUMNS = (
    "files", "rate", "SNR", "PSNR / SSIM", "RMSE", "k-means: rate", "k-means: SNR", "gain", "training",
    "encode", "decode",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """A configuration and its files.

    Attributes:
        config: name in configs/.
        files: glob patterns under the data folder.
        root: `data.root`, under the data folder.
        settings: further settings.
        check: names what differs between an original and its restored file, beyond the values.
    """

    config: str
    files: Sequence[str]
    root: str
    check: Callable[[Path, Path], list[str]]
    settings: Sequence[str] = ()


CASES = {
    "nanopore": Case("nanopore", ["nanopore/r1041*.pod5"], "nanopore/r1041*.pod5", check_pod5),
    "ettm1": Case(
        "series",
        ["series/ETTm1.csv"],
        "series/ETTm1.csv",
        check_table,
        ["data.split={type: ett, rows_per_hour: 4}"],
    ),
    "kodak": Case("images", ["vision/kodak/*.png"], "vision/kodak", check_image),
    "video": Case(
        "video",
        ["vision/video/bikes.mp4", "vision/video/carphone_pristine.mp4"],
        "vision/video",
        check_video,
        ['data.exclude=["transnet*"]'],
    ),
}
QUICK = Case("series", ["*.csv"], "*.csv", check_table, TINY)
"""A table of the built-in sample."""


def trained(case: Case, data: Path, folder: Path, steps: int | None) -> RunDirectory:
    """The finished run in `folder`, trained now if there is none."""
    run = RunDirectory(folder)
    if run.statistics.is_file():
        return run
    settings = [f"data.root={data / case.root}", *case.settings]
    if steps:
        settings += [f"train.steps={steps}", f"train.val_every={steps}"]
    spec = load_spec(common.ROOT / "configs" / f"{case.config}.yaml", settings)
    train(spec, run, resume=run.config.is_file(), quiet=True)
    return run


def round_trip(case: Case, run: RunDirectory, files: list[Path], folder: Path) -> dict[str, Any]:
    """Compress and restore whole files, and compare what is not values."""
    packed, restored = folder / "packed", folder / "restored"
    packing = common.seconds(lambda: compress.run(run.path, files, packed, "auto"))
    archives = [packed / f"{file.name}.acz" for file in files]
    unpacking = common.seconds(lambda: decompress.run(archives, restored, run.path, "auto"))
    differences = {
        file.name: case.check(file, decompress.target_of(archive, restored))
        for file, archive in zip(files, archives, strict=True)
    }
    return {
        "files": len(files),
        "native_bytes": sum(file.stat().st_size for file in files),
        "acz_bytes": sum(archive.stat().st_size for archive in archives),
        "compress_seconds": packing,
        "decompress_seconds": unpacking,
        "differences": {name: found for name, found in differences.items() if found},
    }


def measure(case: Case, run: RunDirectory, files: list[Path], folder: Path) -> dict[str, Any]:
    """Everything about one run."""
    evaluate.run(run.path, [], "auto")
    evaluation = Evaluation.from_json(evaluation_path(run).read_text(encoding="utf-8"))
    manifest = run.read_manifest()
    baseline = evaluation.baseline
    gain = None if baseline is None else evaluation.codec.original["snr"] - baseline.original["snr"]
    return {
        "run": run.path.name,
        "kind": evaluation.kind,
        "unit": evaluation.unit,
        "test_signals": evaluation.n_signals,
        "codec": figures(evaluation.codec),
        "baseline": None if baseline is None else figures(baseline),
        "gain_db": gain,
        "training": manifest["training"],
        "fingerprint": manifest["fingerprint"],
        "encode_values_per_s": evaluation.throughput.encode if evaluation.throughput else None,
        "decode_values_per_s": evaluation.throughput.decode if evaluation.throughput else None,
        "round_trip": round_trip(case, run, files, folder),
    }


def figures(result: Result) -> dict[str, Any]:
    rate = result.rate
    return {
        "description": result.description,
        "bits_per_value": rate.bits_per_value,
        "bits_per_pixel": rate.bits_per_pixel,
        "side_bits_per_value": rate.side_bits_per_value,
        "original": dict(result.original),
        "normalised": dict(result.normalised),
    }


def claims(name: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The issue's claims about one kind of file."""
    differing = len(found["round_trip"]["differences"])
    judged = [common.verdict(f"{name}: restored files that differ natively", differing, 1, below=True)]
    if found["gain_db"] is not None:
        target = NANOPORE_GAIN if name == "nanopore" else 0.0
        judged.append(common.verdict(f"{name}: dB over k-means", found["gain_db"], target, below=False))
    if name == "nanopore":
        spent = found["training"]["seconds"]
        judged.append(common.verdict(f"{name}: seconds of training", spent, NANOPORE_SECONDS, below=True))
    return judged


def markdown(tables: dict[str, dict[str, Any]]) -> str:
    """The headline figures, a line a kind of file."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    for name, found in tables.items():
        codec, baseline = found["codec"], found["baseline"]
        original = codec["original"]
        picture = f"{original['psnr']:.2f} dB / {original['ssim']:.3f}" if "psnr" in original else ""
        yardstick = (
            f"{rate(baseline)} | {baseline['original']['snr']:.2f} dB | {found['gain_db']:+.2f} dB"
            if baseline
            else "| |"
        )
        training = f"{found['training']['steps']} steps, {found['training']['seconds']:.0f} s"
        speed = " | ".join(f"{found[f'{verb}_values_per_s'] / 1e6:.2f} M/s" for verb in ("encode", "decode"))
        lines.append(
            f"| {name} | {rate(codec)} | {original['snr']:.2f} dB | {picture} | "
            f"{original['rmse']:.4g} {found['unit']} | {yardstick} | {training} | {speed} |"
        )
    return "\n".join(lines) + "\n"


def rate(figures_: dict[str, Any]) -> str:
    per_pixel = figures_["bits_per_pixel"]
    if per_pixel is not None:
        return f"{per_pixel:.4f} bits/pixel"
    return f"{figures_['bits_per_value']:.4f} bits/value"


def options_of() -> argparse.Namespace:
    parser = common.arguments(__doc__)
    parser.add_argument("--runs", type=Path, help="folder of runs, one a case (default: a temporary one)")
    parser.add_argument("--data", type=Path, default=common.REAL_DATA, help="folder of recorded files")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--steps", type=int, help="training steps of runs that are not there yet")
    options: argparse.Namespace = parser.parse_args()
    if not options.quick and not options.data.is_dir():
        parser.exit(0, f"no recorded files at {options.data}: nothing to measure (--data, or --quick)\n")
    return options


def main() -> None:
    options = options_of()
    with common.workspace() as folder:
        cases, data, steps = {name: CASES[name] for name in options.cases}, options.data, options.steps
        if options.quick:
            from anycodec.workflows import samples

            cases, data, steps = {"series": QUICK}, folder / "data", 2
            samples.run(kind="series", out=data, seed=0, size="small")
        tables = {}
        for name, case in cases.items():
            files = sorted(path for pattern in case.files for path in data.glob(pattern))
            run = trained(case, data, (options.runs or folder / "runs") / name, steps)
            tables[name] = measure(case, run, files, folder / name)
    found = [claim for name, table in tables.items() for claim in claims(name, table)]
    for name, table in tables.items():
        if differences := table["round_trip"]["differences"]:
            print(f"{name}: {json.dumps(differences, indent=1)}")
    text = markdown(tables)
    print(text)
    common.save("real_files", options, {"claims": found, "tables": tables})
    target = options.out or (None if options.quick else common.RESULTS / "real_files.json")
    if target is not None:
        target.with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
