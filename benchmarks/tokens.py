"""Throughput and memory of `anycodec tokenize` on the built-in nanopore sample, many times over.

The files are hard links to one copy of the sample. The codec is tiny and hardly trained: what it computes is
nothing beside a real one, so that the rest shows: reading, decoding, Parquet, the processes. Targets: two
workers are 1.6 times as fast as one where two processors are free, their bytes are the same, and memory a
worker does not grow with the number of files.

Start-up (a worker imports its engine) is left out of the rates: it is the time of a job of one shard that
holds one file, measured beside the others. On a busy machine look at samples a second of processor time.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
from pathlib import Path
from typing import Any

import yaml

import common

TIMES = 100
TARGET_SPEEDUP = 1.6
TARGET_GROWTH = 1.1
SHARD = "2MB"
CODEC = {
    "type": "simvqgan", "base_channels": 8, "stem_stride": 8, "channels": [8], "strides": [2],
    "res_blocks": 0, "mid_blocks": 0, "latent_channels": 4,
    "quantizer": {"type": "ema", "codebook_size": 64},
}  # fmt: skip
TRAINING = {"steps": 4, "batch_size": 4, "val_every": 4, "val_batches": 1, "checkpoint_every": 4}


def prepare(folder: Path, times: int) -> tuple[Path, Path, Path]:
    """The sample once and `times` over, and a run that was trained on it."""
    once, over = folder / "once", folder / "over"
    common.run(common.anycodec("samples", "nanopore", once, "--size", "small"))
    for number in range(times):
        shutil.copytree(once, over / f"{number:03d}", copy_function=os.link)
    data = {"type": "pod5", "root": str(once), "workers": 0, "window": {"samples": 4096}}
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"name": "tokens", "data": data, "codec": CODEC, "train": TRAINING}))
    common.run(common.anycodec("train", config, "--out", folder / "run", "--quiet"))
    return once, over, folder / "run"


def tokenize(run: Path, data: Path, out: Path, workers: int) -> dict[str, Any]:
    """One job: time, memory of all its processes, what it made."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = common.run(
        common.anycodec(
            "tokenize",
            run,
            data,
            "-o",
            out,
            "--workers",
            str(workers),
            "--shard-size",
            SHARD,
            "--device",
            "cpu",
        )
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    manifest = (out / "_manifest.jsonl").read_text(encoding="utf-8").splitlines()
    totals = yaml.safe_load(manifest[-1])
    digest = hashlib.sha256()
    for shard in sorted(out.glob("*.parquet")):
        digest.update(shard.read_bytes())
    return {
        "workers": workers,
        "files": totals["files"],
        "samples": totals["samples"],
        "tokens": totals["tokens"],
        "seconds": done.seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mib": done.peak_rss / common.MIB,
        "sha256": digest.hexdigest()[:16],
    }


def rate(samples: int, seconds: float) -> float | None:
    """None where the machine was too busy to tell."""
    return samples / seconds if seconds > 0 else None


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--times", type=int, help=f"how often the sample is there (default: {TIMES})")
    options = parser.parse_args()
    times = options.times or (2 if options.quick else TIMES)
    with common.workspace() as folder:
        once, over, run = prepare(folder, times)
        first = sorted(once.rglob("*.pod5"))[0]
        rows = [
            tokenize(run, data, folder / f"tokens-{name}-{workers}", workers)
            for name, data, workers in (
                ("one", first, 1), *([] if options.quick else [("once", once, 1)]),
                ("over", over, 1), ("over", over, 2),
            )
        ]  # fmt: skip
    start, once_row, one, two = rows[0], *rows[-3:]
    for row in rows:
        row["samples_a_second"] = row["samples"] / row["seconds"]
        if row is not start:
            more = row["samples"] - start["samples"]
            row["samples_a_second_without_start"] = rate(more, row["seconds"] - start["seconds"])
            work = row["cpu_seconds"] - start["cpu_seconds"]
            if row["workers"] == start["workers"]:
                row["samples_a_cpu_second"] = rate(more, work)
        print("  " + "  ".join(f"{key} {value}" for key, value in common.rounded(row).items()), flush=True)
    claims = [
        common.verdict(
            "two workers over one",
            (two["samples_a_second_without_start"] or 0) / (one["samples_a_second_without_start"] or 1),
            TARGET_SPEEDUP,
            below=False,
        ),
        common.verdict("the same bytes", float(one["sha256"] == two["sha256"]), 1.0, below=False),
        common.verdict(
            f"peak memory of {times} times the files over once",
            one["peak_mib"] / once_row["peak_mib"],
            TARGET_GROWTH,
            below=True,
        ),
    ]
    load = {"times": times, "shard_size": SHARD, "load_before": os.getloadavg()[0]}
    common.save("tokens", options, {"claims": claims, "settings": load, "rows": rows})


if __name__ == "__main__":
    main()
