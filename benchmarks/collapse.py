"""Codes in use and perplexity over training, a quantizer a line: same codec, data and budget for all.

* ettm1: `totem` on patches of 16 samples (sizes of the published patch variant), RevIN, K 256;
* kodak: a small `vqgan` on crops of 64 x 64, a token for 4 x 4 pixels, K 4096.

Quantizers have their defaults (`vq` alone is as published: no k-means, no restart). Curves are those of
validation windows in metrics.csv. What is claimed is counted at the end on training windows, 64 tokens a
code and more, with the nearest code as in compression: codes that occur at all, of all there are.

Writes the figures as JSON, the table as Markdown and the plot. Runs that exist under --runs are used as
they are. Recorded files are wanted in ../shared/data.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import common
from anycodec.checkpoint import RunDirectory
from anycodec.config.quantizer import (
    EmaSpec,
    FsqSpec,
    OptVqSpec,
    QuantizerSpec,
    SimVqSpec,
    VqSpec,
)
from anycodec.config.run import RunSpec
from anycodec.data.loader import PreparedData, open_data
from anycodec.engine import TrainingJob, get_engine
from anycodec.metrics.codebook import CodebookUse, TokenCounts

SHARE_IN_USE = 0.95
CLAIMED = ("simvq", "optvq", "fsq")
TOKENS_A_CODE = 64
"""Training tokens, at least, that codes in use are counted on."""
VALIDATIONS = 6
PLOT = common.ROOT / "docs" / "images" / "collapse.png"
COLUMNS = ("codes in use", "perplexity", "validation MSE")


@dataclass(frozen=True, slots=True)
class Case:
    """A codec, its data and its budget.

    Attributes:
        files: what to train on, under the data folder.
        data, codec, train: settings.
        codes: K.
        levels: of fsq, of about that product.
    """

    files: str
    data: Mapping[str, Any]
    codec: Mapping[str, Any]
    train: Mapping[str, Any]
    codes: int
    levels: tuple[int, ...]


CASES = {
    "ettm1": Case(
        files="series/ETTm1.csv",
        data={
            "type": "table",
            "window": {"samples": 512},
            "normalizer": {"type": "revin"},
            "split": {"type": "ett", "rows_per_hour": 4},
        },
        codec={
            "type": "totem",
            "patch": 16,
            "hidden_channels": 64,
            "res_channels": 32,
            "latent_channels": 32,
        },
        train={"steps": 300, "batch_size": 16, "val_batches": 8, "optimizer": {"lr": 1e-3}},
        codes=256,
        levels=(8, 6, 5),
    ),
    "kodak": Case(
        files="vision/kodak",
        data={
            "type": "image",
            "window": {"size": (64, 64)},
            "split": {"type": "file", "ratios": (0.67, 0.33, 0)},
        },
        codec={
            "type": "vqgan",
            "base_channels": 16,
            "channel_multipliers": (1, 2, 3),
            "attention_levels": (),
            "mid_attention": False,
            "res_blocks": 1,
            "norm_groups": 8,
            "latent_channels": 32,
        },
        train={
            "steps": 240,
            "batch_size": 16,
            "val_batches": 8,
            "precision": "bf16",
            "optimizer": {"lr": 1e-3},
        },
        codes=4096,
        levels=(7, 5, 5, 5, 5),
    ),
}
QUICK = Case(
    files="*.csv",
    data={"type": "table", "window": {"samples": 64}, "normalizer": {"type": "revin"}},
    codec={"type": "totem", "patch": 16, "hidden_channels": 8, "res_channels": 4, "latent_channels": 4},
    train={"steps": 2, "batch_size": 4, "val_batches": 1},
    codes=16,
    levels=(4, 4),
)
"""A table of the built-in sample."""


def quantizers(case: Case) -> dict[str, QuantizerSpec]:
    return {
        "vq": VqSpec(codebook_size=case.codes, kmeans_init=False, restart_after=0),
        "vq + k-means + restart": VqSpec(codebook_size=case.codes),
        "ema": EmaSpec(codebook_size=case.codes),
        "simvq": SimVqSpec(codebook_size=case.codes),
        "optvq": OptVqSpec(codebook_size=case.codes),
        "fsq": FsqSpec(levels=case.levels),
    }


def spec_of(case: Case, quantizer: QuantizerSpec, data: Path) -> RunSpec:
    steps = case.train["steps"]
    often = {"val_every": math.ceil(steps / VALIDATIONS), "checkpoint_every": steps}
    return RunSpec.model_validate(
        {
            "data": {**case.data, "root": data / case.files, "workers": 0},
            "codec": {**case.codec, "quantizer": quantizer},
            "train": {**case.train, **often, "threads": 1},
        }
    )


def trained(spec: RunSpec, data: PreparedData, folder: Path) -> RunDirectory:
    """The run in `folder`, trained now if there is none."""
    run = RunDirectory(folder)
    if "training" in run.read_manifest():
        return run
    run.create(spec)
    job = TrainingJob(
        spec=spec, in_channels=data.in_channels, run=run, train=data.train, val=data.val, quiet=True
    )
    result = get_engine(spec.engine).train(job)
    run.update_manifest(training={"seconds": result.seconds, "steps": result.steps})
    return run


def measure(spec: RunSpec, data: PreparedData, run: RunDirectory) -> dict[str, Any]:
    """The curve over training, and the use of codes at its end."""
    curve = validations(run)
    last = min(curve, key=lambda row: row["mse"])  # the weights that a run keeps
    use, tokens = final_use(spec, data, run)
    return {
        "codebook_size": use.size,
        "codes_in_use": use.used,
        "share_in_use": use.share,
        "perplexity": use.perplexity,
        "counted_on_tokens": tokens,
        "validation_mse": last["mse"],
        "kept_step": last["step"],
        "seconds": run.read_manifest()["training"]["seconds"],
        "curve": curve,
    }


def validations(run: RunDirectory) -> list[dict[str, float]]:
    names = {"mse": "val/mse", "share": "val/codes_used", "perplexity": "val/perplexity"}
    with run.metrics.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/mse")]
    return [{"step": int(row["step"])} | {k: float(row[name]) for k, name in names.items()} for row in rows]


def final_use(spec: RunSpec, data: PreparedData, run: RunDirectory) -> tuple[CodebookUse, int]:
    """Use of the codes on training windows, and the number of tokens that were looked at."""
    codec = get_engine(spec.engine).load(spec, data.in_channels, run.weights, "cpu")
    counts = TokenCounts(codec.codebook_sizes)
    wanted = TOKENS_A_CODE * codec.codebook_sizes[0]
    order, batch = data.train.epoch_order(0), spec.train.batch_size
    for start in range(0, len(order), batch):
        windows = [data.train.item(0, int(index)) for index in order[start : start + batch]]
        counts.update(codec.encode(np.concatenate(windows)))
        if int(counts.counts[0].sum()) >= wanted:
            break
    return counts.use()[0], int(counts.counts[0].sum())


def markdown(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The ends of the curves, a line a quantizer."""
    heads = [f"{name}: {column}" for name in tables for column in COLUMNS]
    lines = [f"| quantizer | {' | '.join(heads)} |", "|" + "---|" * (1 + len(heads))]
    for quantizer in next(iter(tables.values())):
        cells = [cell for table in tables.values() for cell in _cells(table[quantizer])]
        lines.append(f"| {quantizer} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cells(found: Mapping[str, Any]) -> list[str]:
    used = f"{found['codes_in_use']} of {found['codebook_size']} ({found['share_in_use']:.1%})"
    return [used, f"{found['perplexity']:.0f}", f"{found['validation_mse']:.4f}"]


def plot(tables: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Share of codes in use and perplexity on validation windows over steps, a row a case."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(tables), 2, figsize=(8.5, 3.1 * len(tables)), squeeze=False, layout="constrained"
    )
    for row, (name, table) in zip(axes, tables.items(), strict=True):
        size = max(found["codebook_size"] for found in table.values())
        for quantizer, found in table.items():
            steps = [point["step"] for point in found["curve"]]
            codes = [point["share"] * found["codebook_size"] for point in found["curve"]]
            row[0].plot(steps, codes, marker=".", label=quantizer)
            row[1].plot(steps, [point["perplexity"] for point in found["curve"]], marker=".")
        for axis, what in zip(row, ("codes in use", "perplexity"), strict=True):
            axis.set(title=f"{name}: {what}", xlabel="step", ylim=(0, 1.04 * size))
            axis.grid(alpha=0.3)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def claims(name: str, table: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        common.verdict(
            f"{name}, {quantizer}: share of codes in use",
            table[quantizer]["share_in_use"],
            SHARE_IN_USE,
            below=False,
        )
        for quantizer in CLAIMED
        if quantizer in table
    ]


def options_of() -> argparse.Namespace:
    parser = common.arguments(__doc__)
    parser.add_argument("--runs", type=Path, help="folder that keeps the runs (default: a temporary one)")
    parser.add_argument("--data", type=Path, default=common.REAL_DATA, help="folder of recorded files")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--quantizers", nargs="+", choices=list(quantizers(QUICK)), help="default: all")
    options: argparse.Namespace = parser.parse_args()
    if not options.quick and not options.data.is_dir():
        parser.exit(0, f"no recorded files at {options.data}: nothing to measure (--data, or --quick)\n")
    return options


def study(case: Case, chosen: list[str] | None, files: Path, folder: Path) -> dict[str, Any]:
    """Every quantizer on one case."""
    table = {}
    for name, quantizer in quantizers(case).items():
        if chosen and name not in chosen:
            continue
        spec = spec_of(case, quantizer, files)
        data = open_data(spec)
        run = trained(spec, data, folder / name.replace(" ", ""))
        table[name] = measure(spec, data, run)
        print(f"{name}: {' | '.join(_cells(table[name]))}, {table[name]['seconds']:.0f} s", flush=True)
    return table


def main() -> None:
    options = options_of()
    with common.workspace(options.runs) as folder:
        cases, files = {name: CASES[name] for name in options.cases}, options.data
        if options.quick:
            from anycodec.workflows import samples

            cases, files = {"series": QUICK}, folder / "data"
            samples.run(kind="series", out=files, seed=0, size="small")
        tables = {name: study(case, options.quantizers, files, folder / name) for name, case in cases.items()}
    found = [claim for name, table in tables.items() for claim in claims(name, table)]
    text = markdown(tables)
    print(text)
    common.save("collapse", options, {"claims": found, "tables": tables})
    if options.out is None and options.quick:
        return
    results: Path = options.out or common.RESULTS / "collapse.json"
    results.with_suffix(".md").write_text(text, encoding="utf-8")
    plot(tables, results.with_suffix(".png") if options.out else PLOT)


if __name__ == "__main__":
    main()
