"""`anycodec rd`: rate against distortion of a run's operating points, beside the classics."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from anycodec.atomic import atomic_write
from anycodec.errors import DataError
from anycodec.workflows.canvas import CODEC, INK, canvas
from anycodec.workflows.classics import classics
from anycodec.workflows.console import out as console
from anycodec.workflows.inputs import find_files
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.progress import track
from anycodec.workflows.rate import Measured

_BOUNDS = range(-20, 9, 4)
"""Steps of the error bound that are shown: 2^(n / 4) deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A point of a curve.

    Attributes:
        file: name of the file.
        codec: which curve.
        setting: of the codec.
        bits: a sample, value or pixel, see `unit`; of ours with all side information.
        unit: what bits are counted for.
        quality: PSNR of pictures and video, SNR of series, dB.
    """

    file: str
    codec: str
    setting: str
    bits: float
    unit: str
    quality: float


def run(run: Path, inputs: list[Path], out: Path, device: str) -> int:
    """Measure on stretches of each file; writes rd.csv, rd.json and rd.png.

    Returns:
        0.

    Raises:
        RunError: not a finished run.
        DataError: a file that can't be read.
    """
    pipeline = Pipeline.open(run, device).with_coarse_statistics()
    pipeline.require_tokens()
    files, skipped = find_files(inputs, pipeline.given_files)
    if skipped:
        raise DataError(skipped[0].reason, where=skipped[0].path)
    rows = [row for path in track(files, len(files), "measuring") for row in curves(pipeline, path)]
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / "rd.csv", _csv(rows))
    atomic_write(out / "rd.json", json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    atomic_write(out / "rd.png", figure(rows))
    _show(rows)
    console.print(f"{out / 'rd.csv'}, rd.json and rd.png", markup=False)
    return 0


def curves(pipeline: Pipeline, path: Path) -> Iterator[Row]:
    """All points of one file."""
    measured = Measured(pipeline, path)

    def row(codec: str, setting: str, bits: float, quality: float) -> Row:
        return Row(
            file=path.name, codec=codec, setting=setting, bits=bits, unit=measured.unit, quality=quality
        )

    for point in measured.tokens():
        setting = f"{point.levels} of {measured.levels} levels"
        yield row("anycodec, tokens", setting, point.bits, point.quality)
    for point in map(measured.step, _BOUNDS):
        most = 0.0 if point.bound is None else point.bound.max_error
        yield row("anycodec, bound", f"max. error {most:.4g}", point.bits, point.quality)
    for coded in classics(measured.sample):
        yield row(coded.name, coded.setting, *measured.payload(coded.size, coded.restored))


def figure(rows: list[Row]) -> bytes:
    """Curves of the first file as PNG: bits along, dB up."""
    shown = [row for row in rows if row.file == rows[0].file and math.isfinite(row.quality)]
    with canvas(4.5) as (picture, png):
        axes = picture.add_subplot()
        for number, codec in enumerate(dict.fromkeys(row.codec for row in shown)):
            curve = sorted((row.bits, row.quality) for row in shown if row.codec == codec)
            ours = codec.startswith("anycodec")
            axes.plot(
                *zip(*curve, strict=True),
                marker="os^vDx"[number % 6],
                color=CODEC if ours else INK,
                linestyle="-" if ours else ":",
                alpha=1 if ours else 0.7,
                label=codec,
            )
        axes.set_xscale("log")
        axes.set_xlabel(f"bits/{shown[0].unit}")
        axes.set_ylabel("dB")
        axes.set_title(shown[0].file)
        axes.legend()
        return png()


def _csv(rows: list[Row]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(asdict(rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return buffer.getvalue()


def _show(rows: list[Row]) -> None:
    table = Table("file", "codec", "setting", f"bits/{rows[0].unit}", "dB", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row.file, row.codec, row.setting, f"{row.bits:.3f}", f"{row.quality:.2f}")
    console.print(table)
