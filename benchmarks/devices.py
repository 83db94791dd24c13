"""What a second process brings to a training: samples a second beside one process, and what joining costs.

`anycodec train` of the demo's codec on processors, one thread a process, with one process and with two that
share each batch (`--devices 2`), in turns. Target: 1.6 times the samples a second where two processors are
free. Other work on the machine spoils that figure, so the load is told with it. Processor time spoils less:
what all processes of a step use, from the difference of a long and a short training, so that starting them
does not count; target: below 1.15 times that of one process.
"""

from __future__ import annotations

import os
import resource
import statistics
from pathlib import Path
from typing import Any

import common
from anycodec.checkpoint import RunDirectory
from anycodec.config.loader import dump_spec
from anycodec.workflows.demo import spec as demo_spec

FASTER = 1.6
DEARER = 1.15
PROCESSES = (1, 2)
QUICK = [
    "data.window.samples=256",
    "codec.base_channels=8",
    "codec.channels=[8]",
    "codec.mid_blocks=0",
    "codec.quantizer.quantizer.codebook_size=16",
]
"""Settings of --quick."""


def processor_seconds() -> float:
    """Of all processes that have ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def train(config: Path, out: Path, processes: int, steps: int, settings: list[str]) -> dict[str, Any]:
    """A training's samples a second, the processor time of all its processes, and the load meanwhile."""
    length = [f"train.steps={steps}", f"train.val_every={steps}", f"train.checkpoint_every={steps}"]
    chosen = ["train.threads=1", "train.device=cpu", "data.workers=0", f"train.devices={processes}"]
    before = processor_seconds()
    common.run(common.anycodec("train", config, *length, *chosen, *settings, "--out", out, "--quiet"))
    training = RunDirectory(out).read_manifest()["training"]
    return {
        "samples_per_second": training["samples_per_second"],
        "processor_seconds": processor_seconds() - before,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--steps", type=int, help="training steps (default: 40)")
    parser.add_argument("--turns", type=int, help="of the comparison (default: 3)")
    options = parser.parse_args()
    steps = options.steps or (4 if options.quick else 40)
    turns = options.turns or (1 if options.quick else 3)
    settings = QUICK if options.quick else []
    found: dict[int, list[dict[str, Any]]] = {processes: [] for processes in PROCESSES}
    with common.workspace() as folder:
        common.run(common.anycodec("samples", "nanopore", folder / "data", "--size", "small"))
        config = folder / "demo.yaml"
        config.write_text(dump_spec(demo_spec(folder / "data")), encoding="utf-8")
        for turn in range(turns):
            for processes in PROCESSES:
                folders = (folder / f"run-{turn}-{processes}-{part}" for part in ("short", "long"))
                used, done = 0.0, 0
                if not options.quick:
                    done = steps // 4
                    used = train(config, next(folders), processes, done, settings)["processor_seconds"]
                run = train(config, next(folders), processes, steps, settings)
                a_step = (run["processor_seconds"] - used) / (steps - done)
                found[processes].append(run | {"processor_seconds_a_step": a_step})
    faster = _ratio(found, "samples_per_second")
    dearer = _ratio(found, "processor_seconds_a_step")
    load = statistics.median(run["load"] for runs in found.values() for run in runs)
    print(f"load {load:.1f} on {os.cpu_count()} processors")
    claims = [
        common.verdict("samples a second of two processes over one", faster, FASTER, below=False),
        common.verdict("processor time a step of two processes over one", dearer, DEARER, below=True),
    ]
    runs = {str(processes): runs for processes, runs in found.items()}
    common.save("devices", options, {"claims": claims, "load": load, "steps": steps, "runs": runs})


def _ratio(found: dict[int, list[dict[str, Any]]], figure: str) -> float:
    """Of two processes to one, the median over the turns."""
    return statistics.median(two[figure] / one[figure] for one, two in zip(found[1], found[2], strict=True))


if __name__ == "__main__":
    main()
