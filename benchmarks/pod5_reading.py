"""Reading POD5: samples a second of `anycodec.io.pod5` against a bare loop over the pod5 library.

Both read every read of the same files, in turns, the file cache warm:

* pod5, ADC counts: `for read in reader.reads(): read.signal`
* pod5, pA: the same with `read.signal_pa`
* anycodec: `segments(block)`, which gives pA in float32 and, unlike the loop, the whole description
  of each read, and checks the file against damage
* anycodec, ADC counts: the same with the conversion to pA taken out, so that the two parts of the
  cost stand apart

Targets, on recorded files where there are some: at least 0.8 of the loop's speed, with and without
the conversion on both sides. The built-in sample's reads are so short (thousands of samples) that
what is done once a read decides there.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pod5

import anycodec.io.pod5 as ours
import common
from anycodec.config.data import Pod5Source

TARGET = 0.8
BLOCK = 2**20
REPEATED = 8
"""The built-in sample's files are read this often a turn."""


def sources(folder: Path, quick: bool) -> dict[str, list[Path]]:
    """The built-in sample, whose reads are short, and recorded files where there are some."""
    common.run(common.anycodec("samples", "nanopore", folder, "--size", "small"))
    found = {"built-in sample": sorted(folder.rglob("*.pod5")) * (1 if quick else REPEATED)}
    recorded = sorted((common.REAL_DATA / "nanopore").glob("*.pod5"))
    return found | {"recorded files": recorded} if recorded and not quick else found


def library_adc(path: Path) -> int:
    total = 0
    with pod5.Reader(path) as reader:
        for read in reader.reads():
            total += len(read.signal)
    return total


def library_pa(path: Path) -> int:
    total = 0
    with pod5.Reader(path) as reader:
        for read in reader.reads():
            total += len(read.signal_pa)
    return total


def segments(path: Path) -> int:
    total = 0
    with ours.Pod5Format().open(path, Pod5Source()) as reader:
        for signal in reader.segments(BLOCK):
            total += signal.length
    return total


def segments_adc(path: Path) -> int:
    with _no_conversion():
        return segments(path)


@contextmanager
def _no_conversion() -> Iterator[None]:
    """The reader without its arithmetic: the samples are only copied."""

    def copy(adc: np.ndarray, _offset: float, _scale: float, out: np.ndarray) -> np.ndarray:
        whole = out.view(np.int16)[: len(adc)]
        whole[:] = adc
        return out

    with mock.patch.object(ours, "to_picoamperes", copy):
        yield


CANDIDATES: dict[str, Callable[[Path], int]] = {
    "pod5, ADC counts": library_adc,
    "pod5, pA": library_pa,
    "anycodec, pA": segments,
    "anycodec, ADC counts": segments_adc,
}


def measure(paths: list[Path], repeats: int) -> dict[str, Any]:
    """Speed of each candidate, and the ratios that compare like with like."""
    counts = {name: sum(map(read, paths)) for name, read in CANDIDATES.items()}
    samples = counts["anycodec, pA"]
    if set(counts.values()) != {samples}:
        raise RuntimeError(f"different numbers of samples: {counts}")
    times = common.in_turns(
        {
            name: lambda read=read: common.seconds(lambda: [read(path) for path in paths])
            for name, read in CANDIDATES.items()
        },
        repeats,
    )
    return {
        "files": len(paths),
        "reads": sum(map(n_reads, paths)),
        "samples": samples,
        "msamples_per_s": {name: samples / statistics.median(found) / 1e6 for name, found in times.items()},
        "speed_over_library": {
            f"{a} / {b}": common.ratio(times, b, a)
            for a, b in (
                ("anycodec, pA", "pod5, pA"),
                ("anycodec, ADC counts", "pod5, ADC counts"),
                ("anycodec, pA", "pod5, ADC counts"),
            )
        },
        "seconds": times,
    }


def n_reads(path: Path) -> int:
    with pod5.Reader(path) as reader:
        return reader.num_reads


def show(source: str, table: dict[str, Any]) -> None:
    print(f"{source}: {table['reads']} reads, {table['samples'] / 1e6:.1f} M samples")
    for name, value in table["msamples_per_s"].items():
        print(f"  {name:24} {value:8.1f} M samples/s")
    for name, value in table["speed_over_library"].items():
        print(f"  {name:40} {value:.3f}")


def main() -> None:
    options = common.arguments(__doc__).parse_args()
    with common.workspace() as folder:
        tables = {
            source: measure(paths, 1 if options.quick else 9)
            for source, paths in sources(folder / "data", options.quick).items()
        }
    for source, table in tables.items():
        show(source, table)
    judged = list(tables)[-1]
    claims = [
        common.verdict(
            f"{judged}: speed of {pair}", tables[judged]["speed_over_library"][pair], TARGET, below=False
        )
        for pair in ("anycodec, pA / pod5, pA", "anycodec, ADC counts / pod5, ADC counts")
    ]
    common.save("pod5_reading", options, {"claims": claims, "tables": tables})


if __name__ == "__main__":
    main()
