"""Is the loader the bottleneck? Share of the training's time spent waiting for batches.

The demo's configuration on the built-in nanopore sample, in its own process, as `anycodec train`
reports it (`training.data_wait` in the manifest); beside it the time to prepare a batch in the
training process alone, over the time of a step. Target: below 5 % waiting.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import common
from anycodec.checkpoint import RunDirectory
from anycodec.config.loader import dump_spec
from anycodec.data.loader import open_data
from anycodec.data.sampler import BatchSampler
from anycodec.workflows.demo import spec as demo_spec

TARGET = 0.05
QUICK = [
    "train.batch_size=2",
    "train.val_batches=1",
    "data.workers=0",
    "codec.base_channels=8",
    "codec.channels=[8]",
    "codec.mid_blocks=0",
    "codec.quantizer.quantizer.codebook_size=16",
]
"""Settings of --quick."""


def train(config: Path, out: Path, *settings: str) -> dict[str, Any]:
    """What the run's manifest says of its training."""
    common.run(common.anycodec("train", config, *settings, "--out", out, "--quiet"))
    training: dict[str, Any] = RunDirectory(out).read_manifest()["training"]
    return training


def batch_seconds(data: Path, batches: int) -> list[float]:
    """Time to cut and normalise each of the first batches, in this process."""
    spec = demo_spec(data)
    windows = open_data(spec).train
    sampler = BatchSampler(windows, spec.train.batch_size)
    found = []
    for step in range(batches):
        begin = time.perf_counter()
        for key in sampler.batch(step):
            windows.item(*key)
        found.append(time.perf_counter() - begin)
    windows.close()
    return found


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--steps", type=int, help="training steps (default: 60)")
    parser.add_argument("--workers", type=int, nargs="+", help="data.workers to try beside the default")
    options = parser.parse_args()
    steps = options.steps or (2 if options.quick else 60)
    with common.workspace() as folder:
        data = folder / "data"
        common.run(common.anycodec("samples", "nanopore", data, "--size", "small"))
        preparing = statistics.median(batch_seconds(data, 2 if options.quick else 60))
        config = folder / "demo.yaml"
        config.write_text(dump_spec(demo_spec(data)), encoding="utf-8")
        length = [f"train.steps={steps}", f"train.val_every={steps}", f"train.checkpoint_every={steps}"]
        if options.quick:
            length += QUICK
        runs = {"default": train(config, folder / "run", *length)}
        for workers in options.workers or ():
            setting = f"data.workers={workers}"
            runs[setting] = train(config, folder / f"run-{workers}", *length, setting)
    for name, training in runs.items():
        training["seconds_per_step"] = training["seconds"] / training["steps"]
        print(f"{name}: {training['seconds_per_step']:.4f} s a step, waiting {training['data_wait']:.2%}")
    share = preparing / runs["default"]["seconds_per_step"]
    print(f"a batch is prepared in {1e3 * preparing:.2f} ms by one process: {share:.2%} of a step")
    claims = [common.verdict("share of waiting for data", runs["default"]["data_wait"], TARGET, below=True)]
    results = {"claims": claims, "runs": runs, "batch_seconds": preparing, "batch_over_step": share}
    common.save("loader", options, results)


if __name__ == "__main__":
    main()
