"""Mean error, error bounds and lossless compression against the classics, all side information counted.

Time series: the test split of ETTm1 (12, 4 and 4 months), errors in deviations of the training rows. A run
for each mean error (`--series`, trained with configs/series-trellis.yaml); every classic is set to the RMSE
that the run reaches. Then the error bounds whose uniform error would have the same RMSE, and lossless. Sizes
of peers are those of payloads alone, without header, column names or container.
Nanopore: real POD5 files without loss and within 4, 8 and 16 ADC steps, which is what dropping 3, 4 and 5
bits costs, beside VBZ, pcodec, SZ3, and sigcomp where `--sigcomp` names its program. Speeds are of processor
time.

Needs runs (`--series`, `--nanopore`) and, for the peers, `pip install pysz zfpy zstandard pcodec`.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pod5
from numpy.typing import NDArray

import classics_lossless as lossless
import classics_series as classics
import common
from anycodec.bitstream.container import AczReader, Bound
from anycodec.workflows import compress, decompress
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.samples import run as write_samples

Values = NDArray[np.float64]

RMSE = (0.055, 0.10, 0.115)
"""In deviations; a uniform error within E has the RMSE E / sqrt 3."""
TRAIN_ROWS, TEST = 34560, slice(46080, 57600)
"""ETTm1: 12 months to train, then 4 and 4 to validate and test."""
DECIMALS = 3
"""Of the meters; the file has them as floats with the rounding of two conversions."""
POD5 = ("r941_lambda.pod5", "r1041_5khz_p2solo_slow5tools.pod5")
DROPPED = (3, 4, 5)
"""Bits; rounding to multiples of 2^n is off by at most 2^(n - 1)."""
BYTES = 2
"""Of a sample as it comes from the sequencer."""


def acz(pipeline: Pipeline, source: Path, bound: Bound | None, folder: Path) -> dict[str, Any]:
    """Size, paths and speed of a file through `.acz`, which is left restored in `folder`/out."""
    start = time.process_time()
    if compress.run_with(pipeline, [source], folder, bound):
        raise RuntimeError(f"{source} was left out")
    middle = time.process_time()
    packed = folder / f"{source.name}.acz"
    decompress.run_with([packed], folder / "out", lambda _: pipeline)
    end = time.process_time()
    with AczReader(packed) as reader:
        totals, sizes = reader.totals, reader.sizes()
    return {
        "bits_per_value": 8 * packed.stat().st_size / totals.values,
        "bytes": sizes,
        "segments": {name: getattr(totals, name) for name in ("plain", "codec", "raw")},
        **speeds(totals.values / (middle - start), totals.values / (end - middle)),
    }


def speeds(compressing: float, restoring: float) -> dict[str, float]:
    """Values a second of one processor, and megabytes of 16-bit samples."""
    return {
        "compress_values_per_cpu_s": compressing,
        "decompress_values_per_cpu_s": restoring,
        "compress_mb_per_cpu_s": BYTES * compressing / 1e6,
        "decompress_mb_per_cpu_s": BYTES * restoring / 1e6,
    }


# --- time series --------------------------------------------------------------------------------


class Ettm1:
    """The series, and errors in deviations of its training rows.

    Args:
        path: of the file.
        rows: of the test split to use, None = all.
    """

    def __init__(self, path: Path, rows: int | None = None) -> None:
        table = pd.read_csv(path).iloc[:, 1:]
        self.names, values = list(table.columns), table.to_numpy(np.float64)
        self.mean, self.deviation = values[:TRAIN_ROWS].mean(axis=0), values[:TRAIN_ROWS].std(axis=0)
        self.train = (values[:TRAIN_ROWS] - self.mean) / self.deviation
        self.meters = values[TEST][:rows].round(DECIMALS)
        self.test = (values[TEST][:rows] - self.mean) / self.deviation

    def write(self, values: Values, path: Path) -> Path:
        pd.DataFrame(values, columns=self.names).to_csv(path, index=False)
        return path

    def coded(self, pipeline: Pipeline, values: Values, bound: Bound | None) -> tuple[dict[str, Any], Values]:
        """A CSV file of these values through `.acz`: what it came to, and what came back."""
        with tempfile.TemporaryDirectory() as name:
            source = self.write(values, Path(name) / "ettm1_test.csv")
            found = acz(pipeline, source, bound, Path(name) / "acz")
            return found, pd.read_csv(Path(name) / "acz" / "out" / source.name).to_numpy(np.float64)


def mean_errors(data: Ettm1, runs: list[Path]) -> Iterator[dict[str, Any]]:
    """Each run, and every classic at the RMSE that the run has."""
    for run in runs:
        pipeline = Pipeline.open(run, "cpu")
        found, restored = data.coded(pipeline, data.test * data.deviation + data.mean, None)
        ours = errors(data.test, (restored - data.mean) / data.deviation)
        step = pipeline.spec.codec.model_dump()["quantizer"].get("step")
        yield {"coder": "anycodec", "setting": f"{run.name}, step {step}", **found, **ours}
        for peer, code in peers(data, ours["rmse"]):
            yield row(peer, code(), data.test)


def peers(data: Ettm1, wanted: float) -> Iterator[tuple[str, Callable[[], classics.Coded]]]:
    """What the classics come to at an RMSE."""
    test = data.test

    def cosines() -> classics.Coded:
        """The coded size takes long: the step is found without it."""
        return classics.cosines_coded(test, classics.to_rmse(classics.cosines, test, wanted).step)

    yield (
        "SZ3",
        lambda: classics.smallest(
            classics.to_rmse(classics.sz3, test, wanted),
            classics.to_rmse(classics.sz3_of_table, test, wanted),
        ),
    )
    yield "zfp", lambda: classics.zfp_to_rmse(test, wanted)
    yield "uniform + differences + zstd-19", lambda: classics.to_rmse(classics.steps, test, wanted)
    yield "DCT-32, ideal order-0 entropy", lambda: classics.to_rmse(classics.cosines, test, wanted)
    yield "DCT-32 + range coder", cosines
    yield "k-means VQ of 4 values", lambda: classics.kmeans_to_rmse(data.train, test, wanted)


def bounds(data: Ettm1, run: Path) -> Iterator[dict[str, Any]]:
    """Each coder at each largest error."""
    pipeline = Pipeline.open(run, "cpu")
    for rmse in RMSE:
        most = rmse * math.sqrt(3)
        found, restored = data.coded(pipeline, data.test, Bound(max_error=most))
        yield {"coder": "anycodec", "bound": most, **found, **errors(data.test, restored)}
        sz3 = classics.smallest(classics.sz3(data.test, most), classics.sz3_of_table(data.test, most))
        yield {"bound": most, **row("SZ3", sz3, data.test)}
        yield {"bound": most, **row("zfp", classics.zfp(data.test, most), data.test)}
        steps = classics.steps(data.test, 2 * most)
        yield {"bound": most, **row("uniform + differences + zstd-19", steps, data.test)}


def row(name: str, coded: classics.Coded, values: Values) -> dict[str, Any]:
    return {
        "coder": name,
        "setting": coded.setting,
        "bits_per_value": 8 * coded.size / values.size,
        **errors(values, coded.restored),
        **(speeds_of(values.size, coded.seconds) if coded.seconds else {}),
    }


def speeds_of(values: int, seconds: common.Seconds) -> dict[str, float]:
    return speeds(values / seconds.compress, values / seconds.restore)


def errors(values: Values, restored: Values) -> dict[str, float]:
    off = restored.astype(np.float64) - values
    return {"rmse": float(np.sqrt((off**2).mean())), "largest_error": float(np.abs(off).max())}


def exact_series(data: Ettm1, run: Path) -> Iterator[dict[str, Any]]:
    """The meters' readings without loss; peers get them as floats and as whole numbers."""
    found, restored = data.coded(Pipeline.open(run, "cpu"), data.meters, Bound(max_error=0.0))
    if not np.array_equal(restored, data.meters):
        raise RuntimeError("the readings did not come back")
    yield {"coder": "anycodec, lossless", **found}
    whole = np.rint(data.meters * 10**DECIMALS).astype(np.int32)
    for kind, table in (("thousandths, int32", whole), ("float32", data.meters.astype(np.float32))):
        for name, size, seconds in lossless.tables(table):
            bits = 8 * size / whole.size
            yield {"coder": name, "setting": kind, "bits_per_value": bits, **speeds_of(whole.size, seconds)}


# --- nanopore -----------------------------------------------------------------------------------


def nanopore(run: Path, source: Path, sigcomp: str | None) -> Iterator[dict[str, Any]]:
    """Bits a sample; of ours, POD5 and sigcomp files with everything that they hold."""
    with pod5.Reader(source) as file:
        reads = [(read.signal, read.calibration.scale) for read in file.reads()]
    signals, step = [signal for signal, _ in reads], min(abs(scale) for _, scale in reads)
    samples = sum(map(len, signals))
    yield {"coder": "POD5 (VBZ)", "bits_per_value": 8 * source.stat().st_size / samples}
    for name, found in nanopore_peers(signals):
        speed = speeds(found.compress, found.decompress)
        yield {
            "coder": name,
            "bits_per_value": found.bits_per_value,
            "largest_error": found.largest_error,
            **speed,
        }
    pipeline = Pipeline.open(run, "cpu")
    warm_up(pipeline)
    for most in (0, *(1 << bits >> 1 for bits in DROPPED)):
        name = f"within {most} ADC steps" if most else "lossless"
        with tempfile.TemporaryDirectory() as folder:
            bound = Bound(max_error=(most + 0.01) * step if most else 0.0)
            ours = acz(pipeline, source, bound, Path(folder))
            off = farthest(source, Path(folder) / "out" / source.name)
        if off > most:
            raise RuntimeError(f"{source.name} {name} is off by {off} ADC steps")
        yield {"coder": f"anycodec, {name}", "largest_error": off, **ours}
    if sigcomp is not None:
        yield from by_sigcomp(sigcomp, source, samples)


def nanopore_peers(signals: list[lossless.Counts]) -> Iterator[tuple[str, lossless.Packed]]:
    chunks = lossless.chunks(signals)
    yield "VBZ, signal alone", lossless.packed(chunks, lossless.vbz())
    yield "pcodec, level 12", lossless.packed(signals, lossless.pco())
    for bits in DROPPED:
        dropped, most = f"{bits} lowest bits dropped", 1 << bits >> 1
        yield f"VBZ, {dropped}", lossless.packed(chunks, lossless.dropping(lossless.vbz(), bits))
        yield f"pcodec, {dropped}", lossless.packed(signals, lossless.dropping(lossless.pco(), bits))
        yield f"SZ3, within {most} ADC steps", lossless.packed(signals, lossless.sz3(most))


def warm_up(pipeline: Pipeline) -> None:
    """What is compiled at the first use is compiled."""
    with tempfile.TemporaryDirectory() as folder:
        write_samples(kind="nanopore", out=Path(folder) / "in", seed=0, size="small")
        source = min(Path(folder).rglob("*.pod5"), key=lambda path: path.stat().st_size)
        acz(pipeline, source, Bound(max_error=0.0), Path(folder))


def farthest(source: Path, restored: Path) -> int:
    """Largest difference in ADC steps."""
    with pod5.Reader(source) as one, pod5.Reader(restored) as other:
        pairs = zip(one.reads(), other.reads(), strict=True)
        return max(int(np.abs(a.signal.astype(int) - b.signal).max()) for a, b in pairs)


def by_sigcomp(program: str, source: Path, samples: int) -> Iterator[dict[str, Any]]:
    """Both directions on one thread, all processes counted."""
    threads = ["--device", "cpu", "--cpu-threads", "1", "--cpu-numba-threads", "1"]
    for name, bits in (("lossless", 0), (f"{DROPPED[0]} lowest bits dropped", DROPPED[0])):
        with tempfile.TemporaryDirectory() as folder:
            packed, restored = Path(folder) / "a.sigcomp", Path(folder) / "a.pod5"
            lossy = ["--lsb-eliminate", str(bits)] if bits else []
            files = ["-i", str(source), "-o", str(packed)]
            compressing = seconds_of([*program.split(), "compressor", "compress", *files, *threads, *lossy])
            size = packed.stat().st_size
            files = ["-i", str(packed), "-o", str(restored)]
            restoring = seconds_of([*program.split(), "compressor", "decompress", *files, *threads])
            off = farthest(source, restored)
        yield {
            "coder": f"sigcomp, {name}",
            "bits_per_value": 8 * size / samples,
            "largest_error": off,
            **speeds(samples / compressing, samples / restoring),
        }


def seconds_of(command: list[str]) -> float:
    """CPU seconds of a program, which finds its own libraries."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=own)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def show(title: str, rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print rows as they come."""
    print(title)
    found = []
    for item in rows:
        extra = f" @ RMSE {item['rmse']:.4f}, largest {item['largest_error']:.4f}" if "rmse" in item else ""
        if "compress_mb_per_cpu_s" in item:
            extra += " {compress_mb_per_cpu_s:.3g} / {decompress_mb_per_cpu_s:.3g} MB/s".format(**item)
        print(f"  {item['coder']:36} {item['bits_per_value']:8.4f} bits/value{extra}", flush=True)
        found.append(item)
    return found


def main() -> None:
    parser: argparse.ArgumentParser = common.arguments(__doc__)
    parser.add_argument(
        "--series", type=Path, action="append", help="run of time series; once for each point"
    )
    parser.add_argument("--nanopore", type=Path, help="run of reads")
    parser.add_argument("--sigcomp", help="command that starts sigcomp")
    parser.add_argument("--file", action="append", choices=POD5, help="POD5 files, all without it")
    options = parser.parse_args()
    results: dict[str, Any] = {"load_at_the_start": os.getloadavg()[0]}
    if options.series:
        data = Ettm1(common.REAL_DATA / "series" / "ETTm1.csv", 512 if options.quick else None)
        first = options.series[0]
        for bound in (None, Bound(max_error=0.1)):  # what is compiled at the first use is compiled
            data.coded(Pipeline.open(first, "cpu"), data.test[:512], bound)
        results["ettm1, mean error"] = show("ETTm1, mean error", mean_errors(data, options.series))
        results["ettm1, largest error"] = show("ETTm1, largest error", bounds(data, first))
        results["ettm1, lossless"] = show("ETTm1, lossless", exact_series(data, first))
        common.save("rate_distortion", options, results)  # sigcomp takes long: what is known is kept
    if options.nanopore:
        for name in options.file or POD5[: 1 if options.quick else None]:
            source = common.REAL_DATA / "nanopore" / name
            results[name] = show(name, nanopore(options.nanopore, source, options.sigcomp))
            common.save("rate_distortion", options, results)
    common.save("rate_distortion", options, results)


if __name__ == "__main__":
    main()
