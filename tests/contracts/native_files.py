"""Small native files of each format, made with other libraries than the code under test uses to read.

A format that is registered needs a maker here: the contract suite says so.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from uuid import UUID

import av
import numpy as np
import pandas as pd
import pod5
from numpy.random import Generator
from PIL import Image

from anycodec.config.data import ArraySource, ImageSource, Pod5Source, SourceSpec, TableSource, VideoSource

Sample = tuple[Path, SourceSpec]


def make_pod5(folder: Path, rng: Generator) -> Sample:
    path = folder / f"reads{rng.integers(1 << 40)}.pod5"
    times = datetime.datetime(2024, 5, 17, 8, 3, 2, 123000, datetime.UTC)
    runs = [run_info(f"run{i}", times + datetime.timedelta(days=i), 4000 + 1000 * i) for i in range(2)]
    with pod5.Writer(path) as writer:
        for number in range(int(rng.integers(1, 6))):
            writer.add_read(native_read(rng, number, runs[int(rng.integers(2))]))
    return path, Pod5Source()


def run_info(acquisition: str, start: datetime.datetime, rate: int) -> pod5.RunInfo:
    return pod5.RunInfo(
        acquisition_id=acquisition,
        acquisition_start_time=start,
        adc_max=4095,
        adc_min=-4096,
        context_tags={"barcoding_enabled": "0", "basecall_config": "é"},
        experiment_name="exp",
        flow_cell_id="FAX1",
        flow_cell_product_code="FLO-PRO114M",
        protocol_name="seq",
        protocol_run_id="p1",
        protocol_start_time=start,
        sample_id="s",
        sample_rate=rate,
        sequencing_kit="sqk-lsk114",
        sequencer_position="1A",
        sequencer_position_type="promethion",
        software="MinKNOW",
        system_name="PC",
        system_type="P48",
        tracking_id={"asic_id": "7"},
    )


def native_read(rng: Generator, number: int, run: pod5.RunInfo) -> pod5.Read:
    reasons = list(pod5.EndReasonEnum)
    return pod5.Read(
        read_id=UUID(bytes=rng.bytes(16)),
        pore=pod5.Pore(
            int(rng.integers(1, 3000)), int(rng.integers(1, 5)), str(rng.choice(["not_set", "R10"]))
        ),
        calibration=pod5.Calibration(
            float(rng.integers(-300, 300)), float(np.float32(rng.uniform(0.05, 0.3)))
        ),
        read_number=number,
        start_sample=int(rng.integers(1 << 40)),
        median_before=float(np.float32(rng.normal(200, 20))),
        end_reason=pod5.EndReason(reasons[int(rng.integers(len(reasons)))], bool(rng.integers(2))),
        run_info=run,
        num_minknow_events=int(rng.integers(1000)),
        tracked_scaling=pod5.pod5_types.ShiftScalePair(float(np.float32(rng.normal())), 0.5),
        num_reads_since_mux_change=int(rng.integers(9)),
        time_since_mux_change=float(np.float32(rng.uniform(0, 100))),
        open_pore_level=float(rng.choice([np.nan, 210.5])),
        signal=rng.integers(-(2**15), 2**15, int(rng.choice([1, 7, 3000]))).astype(np.int16),
    )


def make_table(folder: Path, rng: Generator) -> Sample:
    n = int(rng.integers(1, 60))
    frame = pd.DataFrame({"date": pd.date_range("2021-03-01", periods=n, freq="15min")})
    for channel in range(int(rng.integers(1, 4))):
        values = rng.normal(size=n).round(int(rng.choice([0, 3, 16])))
        values[rng.random(n) < rng.choice([0, 0.2, 1])] = rng.choice([np.nan, np.inf, -np.inf])
        frame[f"c{channel}"] = values
    frame["count"] = rng.integers(-50, 50, n)
    frame["note"] = rng.choice(["", "a", 'b "quoted", and more', "ü"], n)
    frame["series"] = np.sort(rng.integers(0, 3, n)) if rng.random() < 0.5 else rng.integers(0, 3, n)
    source = TableSource(series_id="series" if rng.random() < 0.5 else None)
    stem = folder / f"table{rng.integers(1 << 40)}"
    kind = str(rng.choice([".csv", ".tsv", ".parquet"]))
    path = stem.with_suffix(kind)
    if kind == ".parquet":
        frame.to_parquet(path, row_group_size=int(rng.integers(1, 40)))
    else:
        ends = str(rng.choice(["\n", "\r\n"]))
        frame.to_csv(path, index=False, sep="\t" if kind == ".tsv" else ",", lineterminator=ends)
    return path, source


def make_array(folder: Path, rng: Generator) -> Sample:
    layout = str(rng.choice(["t", "tc", "nct"]))
    dtype = np.dtype(str(rng.choice(["<f4", "<f8", ">f4", "<f2", "<i2", "<u1", "<i8"])))
    arrays = []
    for _ in range(int(rng.integers(1, 4))):
        shape = {"t": (3,), "tc": (3, 2), "nct": (2, 3, 5)}[layout]
        array = (rng.normal(size=tuple(s * int(rng.integers(1, 9)) for s in shape)) * 50).astype(dtype)
        if dtype.kind == "f":
            array[rng.random(array.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
        arrays.append(array)
    path = folder / f"array{rng.integers(1 << 40)}"
    if rng.random() < 0.5:
        np.save(path.with_suffix(".npy"), np.asfortranarray(arrays[0]) if rng.random() < 0.3 else arrays[0])
        return path.with_suffix(".npy"), ArraySource(layout=layout)
    save = np.savez_compressed if rng.random() < 0.5 else np.savez
    save(path.with_suffix(".npz"), **{f"k{i}": array for i, array in enumerate(arrays)})
    return path.with_suffix(".npz"), ArraySource(layout=layout)


def make_image(folder: Path, rng: Generator) -> Sample:
    size = (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
    mode = str(rng.choice(["L", "RGB", "LA", "RGBA", "P", "I;16", "CMYK", "1"]))
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 2**16, size, dtype=np.uint16))
    else:
        picture = Image.fromarray(rng.integers(0, 256, (*size, 4), dtype=np.uint8))
        image = picture.convert("RGB").convert(mode) if mode not in ("RGBA", "LA") else picture.convert(mode)
    kinds = {
        "CMYK": [".jpg", ".tif"],
        "L": [".png", ".jpg", ".tif"],
        "RGB": [".png", ".jpg", ".webp", ".tif"],
    }
    path = folder / f"picture{rng.integers(1 << 40)}{rng.choice(kinds.get(mode, ['.png']))}"
    image.save(path)
    return path, ImageSource()


def make_video(folder: Path, rng: Generator) -> Sample:
    codec, pixels, suffix, even_size = [
        ("libx264", "yuv420p", ".mp4", True),
        ("libx264", "yuv444p", ".mkv", False),
        ("mpeg4", "yuv420p", ".avi", True),
        ("libvpx-vp9", "yuv420p", ".webm", True),
    ][int(rng.integers(4))]
    path = folder / f"clip{rng.integers(1 << 40)}{suffix}"
    step = 2 if even_size else 1
    size = tuple(int(extent) * step for extent in rng.integers(9, 24, 2))
    uneven = suffix == ".mkv" and bool(rng.integers(2))
    write_video(path, rng, codec, pixels, size, n=int(rng.integers(1, 40)), uneven=uneven)
    return path, VideoSource(writer="ffv1")


def write_video(
    path: Path,
    rng: Generator,
    codec: str,
    pixels: str,
    size: tuple[int, ...],
    *,
    n: int,
    uneven: bool = False,
    rate: Fraction = Fraction(25),
    first: int = 0,
) -> None:
    base = Fraction(1, 100) if uneven else 1 / rate
    times = first + (np.cumsum(rng.integers(1, 9, n)) if uneven else np.arange(n))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"g": "12"})
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        stream.codec_context.time_base = base
        for number, time in enumerate(times.tolist()):
            picture = np.full((*size, 3), number * 9 % 256, np.uint8)
            picture[: size[0] // 2, number % size[1] :] = rng.integers(0, 256, 3)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


MAKERS: dict[str, Callable[[Path, Generator], Sample]] = {
    "pod5": make_pod5,
    "table": make_table,
    "array": make_array,
    "image": make_image,
    "video": make_video,
}
