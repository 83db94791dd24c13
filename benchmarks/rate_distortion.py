"""Error-bounded and lossless compression against the classics, all side information counted.

Time series: the test split of ETTm1, z-scored, as a CSV file, at bounds of the error. Beside `.acz` files
of a trained run stand SZ3 (pysz), zfp (zfpy) and uniform quantisation with differences and zstd, each column
by itself; their sizes are those of the payloads alone, without header, column names or container.
Nanopore: real POD5 files without loss and within 4 ADC steps, which is what dropping 3 bits costs, against
VBZ as POD5 stores it, and sigcomp where `--sigcomp` names its program. Speeds are of processor time.

Needs a run for each (`--series`, `--nanopore`) and, for the peers, `pip install pysz zfpy zstandard`.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pod5
from numpy.typing import NDArray
from pod5.signal_tools import vbz_compress_signal

import common
from anycodec.bitstream.container import AczReader, Bound
from anycodec.workflows import compress, decompress
from anycodec.workflows.pipeline import Pipeline

Values = NDArray[np.float64]

RMSE = (0.055, 0.10, 0.115)
"""Of the z-scored series; a uniform error within E has the RMSE E / sqrt 3."""
TRAIN_ROWS, TEST = 34560, slice(46080, 57600)
"""ETTm1: 12 months to train, then 4 and 4 to validate and test."""
POD5 = ("r941_lambda.pod5", "r1041_5khz_p2solo_slow5tools.pod5")
STEPS = 4
"""ADC steps that rounding to multiples of 8 is off by at most."""
DROPPED = 3


def acz(pipeline: Pipeline, source: Path, bound: Bound, folder: Path) -> dict[str, Any]:
    """Size, paths and speed of a file through `.acz`, which is left restored in `folder`/out."""
    start = time.process_time()
    if compress.run_with(pipeline, [source], folder, bound):
        raise RuntimeError(f"{source} was left out")
    middle = time.process_time()
    packed = folder / f"{source.name}.acz"
    decompress.run_with([packed], folder / "out", lambda _: pipeline)
    with AczReader(packed) as reader:
        totals, sizes = reader.totals, reader.sizes()
    return {
        "bits_per_value": 8 * packed.stat().st_size / totals.values,
        "bytes": sizes,
        "segments": {name: getattr(totals, name) for name in ("plain", "codec", "raw")},
        "compress_values_per_cpu_s": totals.values / (middle - start),
        "decompress_values_per_cpu_s": totals.values / (time.process_time() - middle),
    }


# --- time series --------------------------------------------------------------------------------


def ettm1(path: Path) -> Values:
    """Its test split [T C], z-scored by the training rows."""
    values = pd.read_csv(path).iloc[:, 1:].to_numpy(np.float64)
    train = values[:TRAIN_ROWS]
    scored: Values = (values[TEST] - train.mean(axis=0)) / train.std(axis=0)
    return scored


def sz3(column: Values, most: float) -> tuple[int, Values]:
    pysz = import_module("pysz")
    config = pysz.szConfig()
    config.errorBoundMode, config.absErrorBound = pysz.szErrorBoundMode.ABS, most
    packed, _ = pysz.sz.compress(column.astype(np.float32), config)
    restored, _ = pysz.sz.decompress(packed, np.float32, column.shape)
    return len(packed), restored


def zfp(column: Values, most: float) -> tuple[int, Values]:
    zfpy = import_module("zfpy")
    packed = zfpy.compress_numpy(column.astype(np.float32), tolerance=most)
    return len(packed), zfpy.decompress_numpy(packed)


def quantised(column: Values, most: float) -> tuple[int, Values]:
    zstandard = import_module("zstandard")
    numbers: NDArray[np.int64] = np.rint(column / (2 * most)).astype(np.int64)
    steps = np.diff(numbers, prepend=0)
    narrow = np.int8 if np.abs(steps).max() < 128 else np.int16
    packed = zstandard.ZstdCompressor(level=19).compress(steps.astype(narrow).tobytes())
    return len(packed), numbers * np.float64(2 * most)


PEERS: dict[str, Callable[[Values, float], tuple[int, Values]]] = {
    "SZ3": sz3,
    "zfp": zfp,
    "uniform + differences + zstd-19": quantised,
}


def series(run: Path, values: Values) -> Iterator[dict[str, Any]]:
    """Bits a value and error of each coder at each bound."""
    pipeline = Pipeline.open(run, "cpu")
    for rmse in RMSE:
        most = rmse * math.sqrt(3)
        with tempfile.TemporaryDirectory() as name:
            source = Path(name) / "ettm1_test.csv"
            pd.DataFrame(values).to_csv(source, index=False)
            found = acz(pipeline, source, Bound(max_error=most), Path(name) / "acz")
            restored = pd.read_csv(Path(name) / "acz" / "out" / source.name).to_numpy()
        yield {"coder": "anycodec", "bound": most, **found, **errors(values, restored)}
        for peer, code in PEERS.items():
            coded = [code(np.ascontiguousarray(column), most) for column in values.T]
            restored = np.stack([one for _, one in coded], axis=1)
            bits = 8 * sum(size for size, _ in coded) / values.size
            yield {"coder": peer, "bound": most, "bits_per_value": bits, **errors(values, restored)}


def errors(values: Values, restored: Values) -> dict[str, float]:
    off = restored.astype(np.float64) - values
    return {"rmse": float(np.sqrt((off**2).mean())), "largest_error": float(np.abs(off).max())}


# --- nanopore -----------------------------------------------------------------------------------


def nanopore(run: Path, source: Path, sigcomp: str | None) -> Iterator[dict[str, Any]]:
    """Bits a sample, files with everything that they hold."""
    with pod5.Reader(source) as file:
        reads = [(read.signal, read.calibration.scale) for read in file.reads()]
    samples = sum(len(signal) for signal, _ in reads)
    chunks = (signal[i : i + 102_400] for signal, _ in reads for i in range(0, len(signal), 102_400))
    yield {"coder": "POD5 (VBZ)", "bits_per_value": 8 * source.stat().st_size / samples}
    vbz = 8 * sum(vbz_compress_signal(chunk).nbytes for chunk in chunks) / samples
    yield {"coder": "VBZ, signal alone", "bits_per_value": vbz}
    pipeline = Pipeline.open(run, "cpu")
    step = min(abs(scale) for _, scale in reads)
    for name, most in (("lossless", 0.0), (f"within {STEPS} ADC steps", (STEPS + 0.01) * step)):
        with tempfile.TemporaryDirectory() as folder:
            found = acz(pipeline, source, Bound(max_error=most), Path(folder))
            off = farthest(source, Path(folder) / "out" / source.name)
        if off > (STEPS if most else 0):
            raise RuntimeError(f"{source.name} {name} is off by {off} ADC steps")
        yield {"coder": f"anycodec, {name}", "largest_error": off, **found}
    if sigcomp is not None:
        yield from by_sigcomp(sigcomp, source, samples)


def farthest(source: Path, restored: Path) -> int:
    """Largest difference in ADC steps."""
    with pod5.Reader(source) as one, pod5.Reader(restored) as other:
        pairs = zip(one.reads(), other.reads(), strict=True)
        return max(int(np.abs(a.signal.astype(int) - b.signal).max()) for a, b in pairs)


def by_sigcomp(program: str, source: Path, samples: int) -> Iterator[dict[str, Any]]:
    """Both directions on one thread, all processes counted."""
    threads = ["--device", "cpu", "--cpu-threads", "1", "--cpu-numba-threads", "1"]
    for name, bits in (("lossless", 0), (f"{DROPPED} lowest bits dropped", DROPPED)):
        with tempfile.TemporaryDirectory() as folder:
            packed, restored = Path(folder) / "a.sigcomp", Path(folder) / "a.pod5"
            lossy = ["--lsb-eliminate", str(bits)] if bits else []
            files = ["-i", str(source), "-o", str(packed)]
            compressing = seconds_of([*program.split(), "compressor", "compress", *files, *threads, *lossy])
            size = packed.stat().st_size
            files = ["-i", str(packed), "-o", str(restored)]
            restoring = seconds_of([*program.split(), "compressor", "decompress", *files, *threads])
        yield {
            "coder": f"sigcomp, {name}",
            "bits_per_value": 8 * size / samples,
            "compress_values_per_cpu_s": samples / compressing,
            "decompress_values_per_cpu_s": samples / restoring,
        }


def seconds_of(command: list[str]) -> float:
    """CPU seconds of a program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def show(title: str, rows: list[dict[str, Any]]) -> None:
    print(title)
    for row in rows:
        extra = f" @ RMSE {row['rmse']:.4f}, largest {row['largest_error']:.4f}" if "rmse" in row else ""
        print(f"  {row['coder']:36} {row['bits_per_value']:8.4f} bits/value{extra}")


def main() -> None:
    parser: argparse.ArgumentParser = common.arguments(__doc__)
    parser.add_argument("--series", type=Path, help="run of time series")
    parser.add_argument("--nanopore", type=Path, help="run of reads")
    parser.add_argument("--sigcomp", help="command that starts sigcomp")
    parser.add_argument("--file", action="append", choices=POD5, help="POD5 files, all without it")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    if options.series:
        values = ettm1(common.REAL_DATA / "series" / "ETTm1.csv")
        results["ettm1"] = list(series(options.series, values[:512] if options.quick else values))
        show("ETTm1, test split", results["ettm1"])
    if options.nanopore:
        for name in options.file or POD5[: 1 if options.quick else None]:
            source = common.REAL_DATA / "nanopore" / name
            results[name] = list(nanopore(options.nanopore, source, options.sigcomp))
            show(name, results[name])
    common.save("rate_distortion", options, results)


if __name__ == "__main__":
    main()
