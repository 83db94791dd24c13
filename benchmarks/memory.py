"""Peak memory of compress and decompress for inputs of 1x, 10x and 100x length.

Target: within 10 % between 1x and 100x, on real POD5 files with their many reads; of one read that is
ever longer, the written file's library takes the compressed samples as a whole, so decompress holds
those (0.8 bytes a sample). 1x is at least one full block of what is coded in one go
(`anycodec.data.window`: 2^20 values of a 1-D signal, 64 frames of a video); below one block memory
grows with the input, as it must.

The codecs are tiny and hardly trained: their quality does not matter here. Peak memory is that of
the whole process (Python, torch and the libraries are in it); the growth in MiB stands beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import yaml

import common
from anycodec.data.samples import nanopore
from anycodec.io import formats
from anycodec.types import FileInfo, Signal, SignalInfo

TARGET = 1.10
BLOCK = 2**20
READ = 100_000
READS = 44
"""1x of many reads: 4.4 M samples, a full batch of the writer (2^22 samples)."""
FRAMES = 64
SIZE = (64, 64)
COLUMNS = 8
CHUNK_ROWS = 2**15

TRAINING = {"steps": 4, "batch_size": 4, "val_every": 4, "val_batches": 1, "checkpoint_every": 4}
CODEC_1D = {
    "type": "simvqgan",
    "base_channels": 8,
    "stem_stride": 8,
    "channels": [8],
    "strides": [2],
    "res_blocks": 0,
    "mid_blocks": 0,
    "latent_channels": 4,
    "quantizer": {"type": "ema", "codebook_size": 64},
}
CODEC_2D = {
    "type": "vqgan",
    "base_channels": 4,
    "channel_multipliers": [1, 1, 1, 1],
    "res_blocks": 1,
    "attention_levels": [],
    "mid_attention": False,
    "latent_channels": 4,
    "norm_groups": 1,
    "quantizer": {"type": "ema", "codebook_size": 64},
}


@dataclass(frozen=True, slots=True)
class Kind:
    """An input that can be made longer.

    Attributes:
        suffix: of its files.
        data: settings of the `data` part.
        codec: settings of the `codec` part.
        write: writes a file of `factor` times the length of 1x.
        unit: what 1x is, in words.
    """

    suffix: str
    data: dict[str, Any]
    codec: dict[str, Any]
    write: Callable[[Path, int], None]
    unit: str


def write_many_reads(path: Path, factor: int) -> None:
    write_reads(path, READS * factor, READ)


def write_one_read(path: Path, factor: int) -> None:
    write_reads(path, 1, BLOCK * factor)


def write_reads(path: Path, n_reads: int, length: int) -> None:
    """Reads of the built-in sample, repeated to a length."""
    file = next(iter(nanopore.files(0, "small")))
    source = file.reads[0]
    adc = np.concatenate([read.adc for read in file.reads])
    meta = {"run_infos": [file.run], "vbz": True}
    info = FileInfo(path=str(path), format="pod5", n_signals=n_reads, meta=meta)
    calibration = {"calibration_offset": source.offset, "calibration_scale": source.scale}
    template = SignalInfo(
        id="", axes="TC", shape=(length, 1), dtype="int16", rate=nanopore.SAMPLE_RATE, unit="pA",
        channels=("current",), meta=calibration,
    )  # fmt: skip

    def segments() -> Iterator[Signal]:
        for number in range(n_reads):
            signal = replace(template, id=str(UUID(int=number + 1)))
            for start in range(0, length, BLOCK):
                places = np.arange(start, min(start + BLOCK, length)) + number * READ
                counts = adc[places % len(adc)].astype(np.float32)
                yield Signal(
                    info=signal, values=((counts + source.offset) * source.scale)[:, None], start=start
                )

    formats.write(path, info, segments())


def write_rows(path: Path, factor: int) -> None:
    """A time stamp and numeric columns, as text."""
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.standard_normal((CHUNK_ROWS, COLUMNS)), axis=0).round(3)
    body = [",".join(map(repr, row)) for row in values.tolist()]
    total = BLOCK // COLUMNS * factor
    begin = np.datetime64("2000-01-01T00:00:00", "s")
    with path.open("w", encoding="utf-8") as file:
        file.write("time," + ",".join(f"c{i}" for i in range(COLUMNS)) + "\n")
        for start in range(0, total, CHUNK_ROWS):
            count = min(CHUNK_ROWS, total - start)
            times = np.char.replace(np.datetime_as_string(begin + np.arange(start, start + count)), "T", " ")
            file.writelines(f"{time},{row}\n" for time, row in zip(times.tolist(), body[:count], strict=True))


def write_video(path: Path, factor: int) -> None:
    """A texture that moves."""
    height, width = SIZE
    shape = (FRAMES * factor, height, width, 3)
    y, x = np.mgrid[:height, :width]
    texture = (127 + 60 * np.sin(x / 5)[..., None] * np.cos(y / 7)[..., None] * [1, 0.7, 0.4]).astype(
        np.uint8
    )
    meta = {
        "writer": "x264", "fps": [25, 1], "time_base": [1, 25], "even": True, "size": [height, width],
        "pixel_aspect": None,
    }  # fmt: skip
    signal = SignalInfo(id="", axes="THWC", shape=shape, dtype="uint8", rate=25.0, unit="level")

    def segments() -> Iterator[Signal]:
        for start in range(0, shape[0], FRAMES):
            frames = np.stack([np.roll(texture, frame, axis=1) for frame in range(start, start + FRAMES)])
            yield Signal(info=signal, values=frames, start=start)

    formats.write(path, FileInfo(path=str(path), format="video", n_signals=1, meta=meta), segments())


KINDS = {
    "pod5, many reads": Kind(
        ".pod5",
        {"type": "pod5", "window": {"samples": 4096}},
        CODEC_1D,
        write_many_reads,
        f"{READS} reads of {READ:,} samples",
    ),
    "pod5, one read": Kind(
        ".pod5",
        {"type": "pod5", "window": {"samples": 4096}, "split": {"type": "time", "ratios": [0.8, 0.1, 0.1]}},
        CODEC_1D,
        write_one_read,
        f"a read of {BLOCK:,} samples",
    ),
    "csv rows": Kind(
        ".csv",
        {"type": "table", "window": {"samples": 1024}, "split": {"type": "time", "ratios": [0.8, 0.1, 0.1]}},
        CODEC_1D,
        write_rows,
        f"{BLOCK // COLUMNS:,} rows of {COLUMNS} numbers",
    ),
    "video frames": Kind(
        ".mp4",
        {
            "type": "video",
            "window": {"size": [64, 64], "frames": 2},
            "split": {"type": "time", "ratios": [0.6, 0.2, 0.2]},
        },
        CODEC_2D,
        write_video,
        f"{FRAMES} frames of {SIZE[1]} x {SIZE[0]}",
    ),
}


def train(kind: Kind, file: Path, folder: Path) -> Path:
    """A run of a few steps."""
    best = {"metric": "val/psnr"} if kind.data["type"] == "video" else {"metric": "val/snr"}
    data = kind.data | {"root": str(file), "workers": 0}
    spec = {"name": "memory", "data": data, "codec": kind.codec, "train": TRAINING | {"best": best}}
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(spec), encoding="utf-8")
    common.run(common.anycodec("train", config, "--out", folder / "run", "--quiet"))
    return folder / "run"


def measure(kind: Kind, factors: list[int], folder: Path) -> dict[str, Any]:
    """Peak RSS and time of both commands at each length."""
    folder.mkdir(parents=True, exist_ok=True)
    run: Path | None = None
    rows: list[dict[str, Any]] = []
    for factor in factors:
        file = folder / f"x{factor}{kind.suffix}"
        kind.write(file, factor)
        run = run or train(kind, file, folder)
        packed = folder / f"{file.name}.acz"
        compress = common.run(common.anycodec("compress", run, file, "-o", folder))
        size = file.stat().st_size
        file.unlink()
        restored = folder / f"restored-{factor}"
        decompress = common.run(common.anycodec("decompress", packed, "-o", restored))
        (restored / file.name).unlink()
        packed.unlink()
        row = {"factor": factor, "input_mib": size / common.MIB}
        for name, command in (("compress", compress), ("decompress", decompress)):
            row |= {f"{name}_peak_mib": command.peak_rss / common.MIB, f"{name}_seconds": command.seconds}
        rows.append(row)
        print("  " + "  ".join(f"{key} {value:.5g}" for key, value in row.items()), flush=True)
    return {"one": kind.unit, "rows": rows}


def claims(name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Largest against smallest input."""
    return [
        common.verdict(
            f"{name}, {verb}: peak at {rows[-1]['factor']}x over peak at 1x",
            rows[-1][f"{verb}_peak_mib"] / rows[0][f"{verb}_peak_mib"],
            TARGET,
            below=True,
        )
        for verb in ("compress", "decompress")
    ]


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="which inputs")
    parser.add_argument("--factors", nargs="+", type=int, help="lengths (default: 1 10 100)")
    parser.add_argument("--work", type=Path, help="folder for the inputs (default: a temporary one)")
    options: argparse.Namespace = parser.parse_args()
    factors = options.factors or ([1] if options.quick else [1, 10, 100])
    kinds = options.kinds[1:2] if options.quick else options.kinds
    tables, found = {}, []
    with common.workspace(options.work) as folder:
        for name in kinds:
            print(f"{name} (1x: {KINDS[name].unit})", flush=True)
            tables[name] = measure(KINDS[name], factors, folder / name.replace(" ", "-").replace(",", ""))
            if len(factors) > 1:
                found += claims(name, tables[name]["rows"])
    common.save("memory", options, {"claims": found, "tables": tables})


if __name__ == "__main__":
    main()
