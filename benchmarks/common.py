"""What the benchmarks share: the machine's description, measured commands, pairs in turns, JSON results.

A claim about speed is a ratio against a peer that ran in the same process or minute, in turns with
it, so that other work on the machine hits both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil

from anycodec import __version__

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
REAL_DATA = ROOT.parent / "shared" / "data"
"""Recorded files on the developers' machines; benchmarks that want them say when they are absent."""

Packed = TypeVar("Packed")
Restored = TypeVar("Restored")

MIB = 2**20
POLL_SECONDS = 0.005
POLL_SHARE = 0.01
"""Of a command's age: to look at one that runs for hours each 5 ms would slow it."""
PACKAGES = ("torch", "numpy", "pod5", "av", "pandas", "pyarrow", "constriction", "jax", "flax", "optax")


@dataclass(frozen=True, slots=True)
class Command:
    """A finished process.

    Attributes:
        seconds: wall time from start to exit.
        peak_rss: bytes; the most that the process and its descendants held at once.
        output: what it printed.
    """

    seconds: float
    peak_rss: int
    output: str


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="seconds: shows that it runs, proves nothing")
    parser.add_argument(
        "--out", type=Path, help="JSON to write (default: benchmarks/results/NAME.json, with --quick none)"
    )
    return parser


def save(name: str, options: argparse.Namespace, results: Mapping[str, Any]) -> None:
    """Write the results with the machine's description."""
    path: Path | None = options.out or (None if options.quick else RESULTS / f"{name}.json")
    if path is None:
        return
    found = {"benchmark": name, "quick": options.quick, "machine": machine(), **results}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded(found), indent=1) + "\n", encoding="utf-8")
    print(f"written: {path}")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": psutil.virtual_memory().total / 2**30,
        "load_at_the_end": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {"anycodec": __version__, **dict(_versions())},
        "commit": _commit(),
    }


def verdict(claim: str, value: float, target: float, *, below: bool) -> dict[str, Any]:
    """A claim with its target, printed and as data."""
    met = value < target if below else value >= target
    relation = "below" if below else "at least"
    print(f"{'met   ' if met else 'MISSED'} {claim}: {value:.4g}, target {relation} {target:g}")
    return {"claim": claim, "value": value, "target": f"{relation} {target:g}", "met": met}


def run(command: Sequence[str | Path], cwd: Path | None = None) -> Command:
    """Run a command, watching the memory of its process tree.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        begin = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output, cwd=cwd)
        peak = _watch(process)
        seconds = time.perf_counter() - begin
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} left with {process.returncode}:\n{text[-3000:]}")
    return Command(seconds, peak, text)


def wall(command: Sequence[str | Path]) -> float:
    """Seconds that a command takes, not watched: for commands of a few hundredths of a second."""
    begin = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def python(*arguments_: str | Path) -> list[str | Path]:
    """A command of this interpreter."""
    return [sys.executable, *arguments_]


def anycodec(*arguments_: str | Path) -> list[str | Path]:
    """An anycodec command."""
    return python("-m", "anycodec", *arguments_)


class Seconds(NamedTuple):
    """Of a processor, to compress and to restore."""

    compress: float
    restore: float

    @classmethod
    def sum(cls, parts: Iterable[Seconds]) -> Seconds:
        return cls(*map(sum, zip(*parts, strict=True)))


def there_and_back(
    pack: Callable[[], Packed], unpack: Callable[[Packed], Restored]
) -> tuple[Packed, Restored, Seconds]:
    """What is packed, what comes back, and the processor time of both."""
    begin = time.process_time()
    packed = pack()
    middle = time.process_time()
    restored = unpack(packed)
    return packed, restored, Seconds(middle - begin, time.process_time() - middle)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def in_turns(candidates: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Measure each candidate `repeats` times, A B C A B C: a busy moment hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, measure in candidates.items():
            times[name].append(measure())
    return times


def ratio(times: Mapping[str, Sequence[float]], a: str, b: str) -> float:
    """Median over the turns of time(a) / time(b)."""
    return statistics.median(x / y for x, y in zip(times[a], times[b], strict=True))


@contextmanager
def workspace(keep: Path | None = None) -> Iterator[Path]:
    """A temporary folder, or one that stays."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="anycodec-bench-") as folder:
        yield Path(folder)


def rounded(value: Any) -> Any:
    """Floats to five significant digits, in any nesting."""
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _watch(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> int:
    """Peak resident bytes of a process and its descendants until it ends."""
    peak = 0
    root = psutil.Process(process.pid)
    begin = time.monotonic()
    while process.poll() is None:
        peak = max(peak, _high_water(process.pid), _tree_rss(root))
        time.sleep(min(1.0, max(POLL_SECONDS, POLL_SHARE * (time.monotonic() - begin))))
    return peak


def _high_water(pid: int) -> int:
    """The kernel's own peak of one process, so that nothing between two looks is missed; 0 if unknown."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def _tree_rss(root: psutil.Process) -> int:
    total = 0
    try:
        for process in (root, *root.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.Error:
        return 0
    return total


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if names:
            return names[0].partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
