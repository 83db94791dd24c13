"""`anycodec samples`: built-in sample data, written as native files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anycodec.atomic import atomic_path
from anycodec.data.samples import gait, images, nanopore, series, video
from anycodec.errors import UserError
from anycodec.io import formats
from anycodec.io.discover import natural_key
from anycodec.types import FileInfo, Signal, SignalInfo
from anycodec.workflows.console import out as console

NEXT = {
    "nanopore": "configs/nanopore.yaml data.root={out}",
    "series": "configs/series.yaml 'data.root={out}/*.csv'",
    "gait": "configs/images.yaml data.root={out} data.split.type=time data.split.guard=4",
    "images": "configs/images.yaml data.root={out}",
    "video": "configs/video.yaml data.root={out}",
}
"""What to train on each kind with."""


def run(kind: str, out: Path, seed: int = 0, size: str = "small") -> int:
    """Write sample data of one kind into a new or empty folder.

    Args:
        kind: a key of `NEXT`.
        out: the folder.
        seed: the same seed writes the same data.
        size: "small" takes seconds, "full" is enough to train on.

    Raises:
        UserError: an unknown kind or size, or a folder that is in use.
        MissingExtra: the library for this kind of file is not installed.
        ResourceError: the disk is full.
    """
    _check(kind, out, size)
    out.mkdir(parents=True, exist_ok=True)
    with console.status(f"writing {kind} samples ..."):
        written = list(_WRITERS[kind](out, seed, size))
    n_bytes = sum(path.stat().st_size for path in written)
    below = {path.parent.relative_to(out).as_posix() for path in written if path.parent != out}
    folders = sorted(below, key=natural_key)
    console.print(f"{len(written)} {kind} files, {n_bytes / 1e6:.1f} MB, written to [bold]{out}[/bold]")
    if folders:
        more = " ..." if len(folders) > 3 else ""
        console.print(f"  folders: {', '.join(folders[:3])}{more}")
    console.print(f"next: anycodec train {NEXT[kind].format(out=out)}", markup=False)
    return 0


def _check(kind: str, out: Path, size: str) -> None:
    if kind not in _WRITERS:
        raise UserError(f"no sample data of kind {kind!r}", how=f"one of {', '.join(_WRITERS)}")
    if size not in ("small", "full"):
        raise UserError(f"unknown size {size!r}", where="--size", how="small or full")
    if out.exists() and not out.is_dir():
        raise UserError("a file is in the way", where=str(out), how="give a new folder")
    if out.is_dir() and any(out.iterdir()):
        raise UserError("the folder is not empty", where=str(out), how="give a new folder, or empty this one")


def _place(out: Path, relative: str) -> Path:
    path = out / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_nanopore(out: Path, seed: int, size: str) -> Iterator[Path]:
    for file in nanopore.files(seed, size):
        path = _place(out, file.path)
        meta = {"run_infos": [file.run], "vbz": True}
        info = FileInfo(path=str(path), format="pod5", n_signals=len(file.reads), meta=meta)
        formats.write(path, info, map(_read_signal, file.reads))
        yield path


def _read_signal(read: nanopore.Read) -> Signal:
    from anycodec.io.pod5_fields import to_picoamperes

    info = SignalInfo(
        id=read.id,
        axes="TC",
        shape=(len(read.adc), 1),
        dtype="int16",
        rate=nanopore.SAMPLE_RATE,
        unit="pA",
        channels=("current",),
        meta={
            "calibration_offset": read.offset,
            "calibration_scale": read.scale,
            "channel": read.channel,
            "well": read.well,
            "pore_type": "r10.4.1",
            "read_number": read.number,
            "start": read.start,
            "median_before": read.median_before,
            "end_reason": read.end_reason,
            "end_reason_forced": read.forced,
            "num_minknow_events": read.bases,
        },
    )
    return Signal(info=info, values=to_picoamperes(read.adc, read.offset, read.scale)[:, None])


def _write_series(out: Path, seed: int, size: str) -> Iterator[Path]:
    import pandas as pd

    for table in series.tables(seed, size):
        path = _place(out, table.path)
        frame = pd.DataFrame(table.columns)
        with atomic_path(path) as temporary:
            if path.suffix == ".parquet":
                frame.to_parquet(temporary, index=False)
            else:
                frame.to_csv(temporary, index=False)
        yield path


def _write_gait(out: Path, seed: int, size: str) -> Iterator[Path]:
    for picture in gait.pictures(seed, size):
        yield _write_picture(_place(out, picture.path), picture.pixels)


def _write_images(out: Path, seed: int, size: str) -> Iterator[Path]:
    for picture in images.pictures(seed, size):
        yield _write_picture(_place(out, picture.path), picture.pixels)


def _write_picture(path: Path, pixels: NDArray[np.uint8 | np.uint16]) -> Path:
    values = pixels.reshape(*pixels.shape[:2], -1)
    info = SignalInfo(id="", axes="HWC", shape=values.shape, dtype=str(values.dtype), unit="level")
    file = FileInfo(path=str(path), format="image", n_signals=1)
    formats.write(path, file, [Signal(info=info, values=values)])
    return path


def _write_video(out: Path, seed: int, size: str) -> Iterator[Path]:
    for clip in video.clips(seed, size):
        path = _place(out, clip.path)
        shape = clip.frames.shape
        info = SignalInfo(id="", axes="THWC", shape=shape, dtype="uint8", rate=video.FPS, unit="level")
        meta = {
            "writer": "x264",
            "fps": [video.FPS, 1],
            "time_base": [1, video.FPS],
            "even": True,
            "size": shape[1:3],
            "pixel_aspect": None,
        }
        file = FileInfo(path=str(path), format="video", n_signals=1, meta=meta)
        formats.write(path, file, [Signal(info=info, values=clip.frames)])
        yield path


_WRITERS: dict[str, Callable[[Path, int, str], Iterator[Path]]] = {
    "nanopore": _write_nanopore,
    "series": _write_series,
    "gait": _write_gait,
    "images": _write_images,
    "video": _write_video,
}
