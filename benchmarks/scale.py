"""What `anycodec tokenize` of a petabyte would need: a simulation of its scheduler, checked, then scaled up.

The simulation gives each free worker the next shard, as the executors do. A shard takes its worker as long
as its samples take to code, or to arrive where all workers together want more than the storage gives.
Workers take a time to start, die now and then, and then lose the shard at hand.

It is checked in two ways. Against the local executor: its worker processes do tasks that only sleep, so that
other work on the machine matters little; target: the real time within 15 % of the simulated one. Against the
processor time that `tokens.py` measured with two workers, from its figures for one; target: within 15 %.

Then a tenth of a petabyte of POD5 (a whole one takes ten times as long), by bytes a sample
(rate_distortion.py) and samples a second of processor time: reading alone (pod5_reading.py), all but a real
codec (tokens.py), and with the codec of configs/nanopore.yaml, measured here with new weights: its time does
not depend on them.
"""

from __future__ import annotations

import heapq
import json
import math
import random
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import common
from anycodec.config.loader import load_spec
from anycodec.config.run import window_shape
from anycodec.workflows.shards import manifest
from anycodec.workflows.shards.executor import Report, Work
from anycodec.workflows.shards.local import LocalExecutor
from anycodec.workflows.shards.manifest import ShardRecord
from anycodec.workflows.shards.plan import Task

SIMULATED = 1e14
"""Bytes of native files: a tenth of a petabyte."""
SHARD = 1e9
LIFETIME = 30 * 86400.0
"""Mean seconds until a worker dies: a month, as of machines that are lent while nobody else wants them."""
WINDOWS = 128
"""Of 3072 samples, encoded to find the codec's speed."""
WORKERS = (100, 1_000, 10_000)
STORAGE = (1e9, 1e10, 1e11)
"""Bytes a second that the storage gives to all workers together."""
TOLERANCE = 1.15


@dataclass(frozen=True, slots=True)
class Workers:
    """What runs the shards.

    Attributes:
        count: at a time.
        start: seconds from a worker's birth until it can work.
        lifetime: mean seconds until it dies; None = it never does.
    """

    count: int
    start: float = 0.0
    lifetime: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A simulated job.

    Attributes:
        seconds: from its start to the end of its last shard.
        busy: share of all workers' time that went into shards that were finished.
        lost: shards that were begun again.
    """

    seconds: float
    busy: float
    lost: int


def simulate(services: Sequence[float], workers: Workers, seed: int = 0) -> Outcome:
    """Give each free worker the next shard.

    Args:
        services: seconds that each shard takes a worker.
        workers: see `Workers`.
        seed: of the deaths.
    """
    rng = random.Random(seed)
    waiting = deque(services)
    free = [(workers.start, _life(workers, rng)) for _ in range(min(workers.count, len(services)))]
    heapq.heapify(free)
    end, lost = 0.0, 0
    while waiting:
        now, death = heapq.heappop(free)
        service = waiting.popleft()
        if now + service > death:  # the shard begins again, first, in a new worker
            waiting.appendleft(service)
            lost += 1
            born = max(now, death)
            heapq.heappush(free, (born + workers.start, born + _life(workers, rng)))
            continue
        end = max(end, now + service)
        heapq.heappush(free, (now + service, death))
    return Outcome(end, sum(services) / (end * workers.count), lost)


def _life(workers: Workers, rng: random.Random) -> float:
    return math.inf if workers.lifetime is None else rng.expovariate(1 / workers.lifetime)


@dataclass(frozen=True, slots=True)
class Sleep:
    """A job whose tasks only take time."""

    services: tuple[float, ...]
    born: Path

    def open(self) -> Work:
        """Note the birth of a worker."""
        (self.born / f"{time.time():.6f}").touch()
        return self._work

    def clear(self, shard: int) -> None:
        """Nothing is left behind."""

    def _work(self, task: Task, report: Report) -> ShardRecord:
        time.sleep(self.services[task.number])
        return ShardRecord(shard=task.number, name="", size=0, sha256="", plan="")


def against_the_executor(count: int, workers: int) -> dict[str, Any]:
    """Time of the local executor and of the simulation, for the same tasks."""
    rng = random.Random(1)
    services = tuple(rng.uniform(0.1, 0.6) for _ in range(count))
    with tempfile.TemporaryDirectory() as folder:
        begin = time.time()
        events = LocalExecutor(workers).run(
            Sleep(services, Path(folder)), [Task(n, ()) for n in range(count)]
        )
        done = sum(isinstance(event, ShardRecord) for event in events)
        real = time.time() - begin
        births = sorted(float(path.name) - begin for path in Path(folder).iterdir())
    assert done == count
    simulated = simulate(services, Workers(workers, start=births[-1])).seconds
    return {
        "tasks": count, "workers": workers, "start_seconds": births[-1], "real_seconds": real,
        "simulated_seconds": simulated, "lower_bound_seconds": sum(services) / workers,
    }  # fmt: skip


def note_seconds(records: int) -> float:
    """Seconds that the driver takes to note a finished shard, so that it survives a crash."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / manifest.NAME).touch()
        record = ShardRecord(shard=0, name="shard-000000.parquet", size=1, sha256="0" * 64, plan="0" * 64)
        return (
            common.seconds(lambda: [manifest.append(Path(folder), record) for _ in range(records)]) / records
        )


def encode_rate() -> float:
    """Samples a second of one core through the codec of configs/nanopore.yaml, with new weights."""
    import torch

    from anycodec.torch.codecs import make_codec
    from anycodec.torch.engine import TorchCodec

    torch.set_num_threads(1)
    spec = load_spec(common.ROOT / "configs" / "nanopore.yaml", check_paths=False)
    codec = TorchCodec(make_codec(spec.codec, 1), torch.device("cpu"))
    shape = (WINDOWS, 1, *window_shape(spec.data))
    windows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    codec.encode(windows[:1])
    begin = time.process_time()
    codec.encode(windows)
    return windows.size / (time.process_time() - begin)


def rate_and_start(small: Mapping[str, Any], large: Mapping[str, Any]) -> dict[str, float]:
    """Samples a second and seconds to start, of processor time, from two jobs of one worker."""
    more = large["samples"] - small["samples"]
    rate = more / max(1e-9, large["cpu_seconds"] - small["cpu_seconds"])
    return {
        "samples_a_cpu_second": rate,
        "start_cpu_seconds": max(0.0, small["cpu_seconds"] - small["samples"] / rate),
    }


def results(name: str) -> dict[str, Any]:
    """What another benchmark found."""
    found: dict[str, Any] = json.loads((common.RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def bytes_a_sample() -> float:
    """Of POD5 from recent pores, as VBZ packs it."""
    rows = find(results("rate_distortion"), "r1041_5khz_p2solo_slow5tools.pod5")
    return float(rows[0]["bits_per_value"]) / 8


def find(tree: Any, name: str) -> Any:
    """The first entry of that name in nested tables."""
    if not isinstance(tree, dict):
        return None
    if name in tree:
        return tree[name]
    return next((found for value in tree.values() if (found := find(value, name)) is not None), None)


def against_two_workers(one_worker: Mapping[str, float]) -> dict[str, float]:
    """Processor time of two workers as `tokens.py` measured it, and as the figures of one say."""
    two = results("tokens")["rows"][-1]
    said = 2 * one_worker["start_cpu_seconds"] + two["samples"] / one_worker["samples_a_cpu_second"]
    return {"measured": two["cpu_seconds"], "said": said}


def petabyte(rates: Mapping[str, float], start: float, scale: float) -> list[dict[str, Any]]:
    """Each rate with each number of workers and each storage.

    Args:
        rates: samples a second and worker.
        start: seconds until a worker can work.
        scale: part of `SIMULATED` that is simulated.
    """
    size, rows = bytes_a_sample(), []
    shards = round(scale * SIMULATED / SHARD)
    for what, rate in rates.items():
        for count in WORKERS:
            for bandwidth in STORAGE:
                code, arrive = SHARD / size / rate, SHARD * min(count, shards) / bandwidth
                service = max(code, arrive)
                done = simulate([service] * shards, Workers(count, start, LIFETIME))
                rows.append(
                    {
                        "what": what, "workers": count, "storage_gb_a_second": bandwidth / 1e9,
                        "days_a_petabyte": done.seconds / scale * 1e15 / SIMULATED / 86400,
                        "busy": done.busy, "lost_share": done.lost / shards,
                        "bottleneck": "coding" if code >= arrive else "storage",
                    }
                )  # fmt: skip
    return rows


def main() -> None:
    options = common.arguments(__doc__).parse_args()
    checks = [against_the_executor(8, 2)] if options.quick else [against_the_executor(60, n) for n in (1, 4)]
    bare_rows = results("tokens")["rows"]
    bare = rate_and_start(bare_rows[0], bare_rows[-2])
    two = against_two_workers(bare)
    rates = {
        "reading": 1e6 * find(results("pod5_reading"), "recorded files")["msamples_per_s"]["anycodec, pA"],
        "all but the codec": bare["samples_a_cpu_second"],
    }
    if not options.quick:
        rates["configs/nanopore.yaml"] = 1 / (1 / bare["samples_a_cpu_second"] + 1 / encode_rate())
    rows = petabyte(rates, bare["start_cpu_seconds"], 0.001 if options.quick else 1.0)
    for row in rows:
        print("  " + "  ".join(f"{key} {value}" for key, value in common.rounded(row).items()))
    claims = [
        common.verdict(
            f"real over simulated seconds, {check['workers']} workers",
            check["real_seconds"] / check["simulated_seconds"], TOLERANCE, below=True,
        )
        for check in checks
    ]  # fmt: skip
    claims.append(
        common.verdict(
            "processor time of two workers, larger over smaller of measured and said",
            max(two.values()) / min(two.values()), TOLERANCE, below=True,
        )
    )  # fmt: skip
    found = {
        "claims": claims, "checks": checks, "two_workers_cpu_seconds": two, "bare": bare,
        "bytes_a_sample": bytes_a_sample(), "samples_a_second_and_core": rates,
        "driver_seconds_a_shard": note_seconds(20), "shard_bytes": SHARD, "lifetime_seconds": LIFETIME,
        "petabyte": rows,
    }  # fmt: skip
    common.save("scale", options, found)


if __name__ == "__main__":
    main()
