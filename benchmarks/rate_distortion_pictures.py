"""Pictures beside JPEG, WebP and AVIF, clips beside x264, SVT-AV1 and VP9, at equal bits.

Every picture and clip is compressed with a trained run (`--pictures`, `--video`; `--picture-prior` and
`--video-prior` add files coded with a learned prior) and restored. Each classic is then given the lowest
quality whose file is no smaller than ours, or its lowest of all where even that is larger. PSNR, SSIM and
LPIPS are of the same 8-bit pixels; whole `.acz` files are counted, the run's weights are not. Speeds are MB
of RGB a second of processor time, on one thread.

Clips are the test part of each video in time, which the run has not seen in training.

    python benchmarks/rate_distortion_pictures.py --pictures runs/images-perceptual --figure curves.png
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import common
from anycodec.bitstream.container import AczReader
from anycodec.config.data import TimeSplit, VideoSource
from anycodec.data.samples.images import scene
from anycodec.data.split import blocks
from anycodec.engine import get_engine
from anycodec.io.formats import get_format
from anycodec.metrics.image import psnr, ssim
from anycodec.workflows import compress, decompress
from anycodec.workflows.canvas import BASELINE, CODEC, FAINT, INK, ORIGINAL, canvas
from anycodec.workflows.levels import operating_points, with_levels
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.priors import use_prior
from picture_coders import CLIPS, STILLS, Coded, Coder, Frames, at_size

EVERY = 6
"""Of the frames of a clip, for SSIM and LPIPS."""
TARGET_RATE = 0.07
"""Bits a pixel; below it a learned codec should win by LPIPS."""
TICKS = (0.02, 0.03, 0.05, 0.1, 0.2, 0.3)
"""Bits a pixel."""
Row = dict[str, Any]
Distances = dict[str, Callable[[Any, Any], float]]


@dataclass(frozen=True, slots=True)
class Item:
    """A picture or a clip.

    Attributes:
        name: in the results.
        path: its file.
        frames: its pixels.
    """

    name: str
    path: Path
    frames: Frames


# --- ours ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """A way to use a run: its name in the tables, and the pipeline."""

    name: str
    pipeline: Pipeline


def ways(run: Path, prior: Path | None) -> list[Way]:
    """Fewer stages, all of them, and those with a prior; classics get as many bits as the last."""
    plain = Pipeline.open(run, "cpu")
    points = operating_points(plain)
    found = [Way(f"anycodec, {n} of {points[-1]} stages", with_levels(plain, n)) for n in points[:-1]]
    found.append(Way("anycodec", plain))
    if prior is not None:
        with_prior = Pipeline.open(run, "cpu")
        use_prior(with_prior, prior)
        found.append(Way("anycodec, prior", with_prior))
    return found


def ours(pipeline: Pipeline, item: Item, folder: Path) -> tuple[Coded, dict[str, int]]:
    """A file through `.acz`, and its bytes by category."""
    begin = time.process_time()
    compress.run_with(pipeline, [item.path], folder)
    middle = time.process_time()
    packed = folder / f"{item.path.name}.acz"
    decompress.run_with([packed], folder / "out", lambda _: pipeline)
    end = time.process_time()
    with AczReader(packed) as reader:
        sizes = reader.sizes()
    restored = read(pipeline, next((folder / "out").iterdir()))
    return Coded(packed.stat().st_size, restored, middle - begin, end - middle), sizes


def read(pipeline: Pipeline, path: Path) -> Frames:
    """Frames [N H W 3] of a picture or a video."""
    with get_format(pipeline.source.type).open(path, pipeline.source) as reader:
        values = np.concatenate([piece.values for piece in reader.segments(2**20)])
    return values if values.ndim == 4 else values[None]


# --- what is compared ---------------------------------------------------------------------------


def pictures(files: Sequence[Path]) -> Iterator[Item]:
    for path in files:
        yield Item(path.name, path, np.asarray(Image.open(path).convert("RGB"))[None])


def clips(pipeline: Pipeline, files: Sequence[Path], folder: Path, most: int) -> Iterator[Item]:
    """The last frames of each video, `most` of its test part, as lossless video."""
    source = pipeline.source
    if not isinstance(source, VideoSource) or not isinstance(source.split, TimeSplit):
        raise SystemExit("--video wants a run of video that was split in time")
    for path in files:
        form = get_format("video")
        with form.open(path, source) as reader:
            signal = next(iter(reader.signals()))
            start, stop = blocks(signal.length, source.split.ratios, source.split.guard)[2]
            piece = reader.fetch(0, start, min(stop, start + most))
            meta = {**reader.info.meta, "writer": "ffv1"}
            target = folder / f"{path.stem}.mkv"
            form.write(target, replace(reader.info, path=str(target), meta=meta), iter([piece]))
        yield Item(path.name, target, piece.values)


def rows(
    items: Iterable[Item], found: Sequence[Way], coders: Sequence[Coder], distances: Distances
) -> Iterator[Row]:
    """All coders on all items: each way of ours, the classics at its bits, and the classics' curves."""
    alex = {net: distance for net, distance in distances.items() if net == "alex"}
    for item in items:
        remembered = [remembering(coder, item.frames) for coder in coders]
        scored: dict[tuple[str, int], Row] = {}
        for way in found:
            with tempfile.TemporaryDirectory() as folder:
                coded, sizes = ours(way.pipeline, item, Path(folder))
            yield row(item, way.name, "", coded, distances) | {"point": "ours", "bytes": sizes}
            for coder in remembered:
                setting, classic = at_size(coder, item.frames, coded.size)
                key = coder.name, setting
                scored[key] = scored.get(key) or row(item, *key, classic, distances)
                yield scored[key] | {"point": "equal", "beside": way.name}
        for coder in remembered:
            for setting in coder.shown:
                yield row(item, coder.name, setting, coder.code(item.frames, setting), alex) | {
                    "point": "curve"
                }


def remembering(coder: Coder, frames: Frames) -> Coder:
    """The coder of these frames alone, which codes them once a setting."""
    made = cache(lambda setting: coder.code(frames, setting))
    return replace(coder, code=lambda _, setting: made(setting))


def row(item: Item, coder: str, setting: object, coded: Coded, distances: Distances) -> Row:
    found: Row = {
        "item": item.name,
        "coder": coder,
        "setting": setting,
        "bits_per_pixel": 8 * coded.size / math.prod(item.frames.shape[:3]),
        **scores(item.frames, coded.restored, distances),
        "encode_mb_s": item.frames.nbytes / 1e6 / max(coded.encode_s, 1e-9),
        "decode_mb_s": item.frames.nbytes / 1e6 / max(coded.decode_s, 1e-9),
    }
    print("  " + text(found), flush=True)
    return found


def scores(frames: Frames, restored: Frames, distances: Distances) -> dict[str, float]:
    """PSNR of all frames; SSIM and LPIPS of each `EVERY`th, since they take long."""
    errors = [
        float(np.square(x.astype(np.float64) - y).mean()) for x, y in zip(frames, restored, strict=True)
    ]
    pairs = list(zip(frames[::EVERY], restored[::EVERY], strict=True))
    found = {
        "psnr": float(np.mean([psnr(error, 255) for error in errors])),
        "ssim": float(np.mean([ssim(x, y, 255) for x, y in pairs])),
    }
    for net, distance in distances.items():
        found[f"lpips_{net}"] = float(np.mean([distance(unit(x), unit(y)) for x, y in pairs]))
    return found


def unit(picture: Any) -> Any:
    """[H W 3] in [0, 1]."""
    return picture.astype(np.float32) / 255


# --- what is said -------------------------------------------------------------------------------

FIGURES = ("bits_per_pixel", "psnr", "ssim", "lpips_alex", "lpips_vgg", "encode_mb_s", "decode_mb_s")


def means(found: Sequence[Row]) -> list[Row]:
    """Of each coder and setting over the items; of each classic at equal bits, whatever its setting was."""
    groups: dict[tuple[str, str, object], list[Row]] = {}
    for one in found:
        key = one["setting"] if one["point"] == "curve" else one.get("beside", "")
        groups.setdefault((one["coder"], one["point"], key), []).append(one)
    return [
        {
            "coder": coder,
            "point": point,
            "setting" if point == "curve" else "beside": key,
            "items": len(group),
        }
        | {
            name: float(np.mean([one[name] for one in group]))
            for name in FIGURES
            if all(name in one for one in group)
        }
        for (coder, point, key), group in groups.items()
    ]


def text(one: Row) -> str:
    place = one.get("setting", one.get("beside", ""))
    lpips = " ".join(f"{net} {one[f'lpips_{net}']:.3f}" for net in ("alex", "vgg") if f"lpips_{net}" in one)
    return (
        f"{one.get('item', ''):10.10} {one['coder']:26} {place!s:24.24} {one['bits_per_pixel']:.4f} bpp "
        f"{one['psnr']:6.2f} dB ssim {one['ssim']:.3f} lpips {lpips} "
        f"{one['encode_mb_s']:.2f} {one['decode_mb_s']:.2f} MB/s"
    )


def claims(title: str, averages: Sequence[Row]) -> list[dict[str, Any]]:
    """Each way of ours below `TARGET_RATE`, and its LPIPS below that of every classic at its bits."""
    found = []
    for mine in (one for one in averages if one["point"] == "ours"):
        way, bits = mine["coder"], mine["bits_per_pixel"]
        found.append(common.verdict(f"{title}, {way}: bits a pixel", bits, TARGET_RATE, below=True))
        peers = [one for one in averages if one.get("beside") == way]
        for net, peer in product(("lpips_alex", "lpips_vgg"), peers):
            if net in mine and net in peer:
                at = f"{peer['coder']}'s at {peer['bits_per_pixel']:.4f} bits a pixel"
                name = f"{title}, {way}: {net} over {at}"
                found.append(common.verdict(name, mine[net] / peer[net], 1, below=True))
    return found


def draw(tables: dict[str, list[Row]], path: Path) -> None:
    """LPIPS and PSNR over the rate, a row for pictures and one for clips."""
    names = [("lpips_alex", "LPIPS (Alex), less is better"), ("psnr", "PSNR, dB"), ("ssim", "SSIM")]
    colours = (BASELINE, ORIGINAL, INK, FAINT)
    with canvas(3.4 * len(tables)) as (figure, png):
        grid = figure.subplots(len(tables), len(names), squeeze=False)
        for axes, (title, averages) in zip(grid, tables.items(), strict=True):
            coders = dict.fromkeys(one["coder"] for one in averages if one["point"] == "curve")
            for axis, (name, label) in zip(axes, names, strict=True):
                for number, coder in enumerate(coders):
                    curve = curve_of(averages, coder, name)
                    style = {"marker": "os^v"[number % 4], "linestyle": "-" if number < 4 else "--"}
                    axis.plot(*curve, color=colours[number % 4], markersize=3.5, label=coder, **style)
                mine = [one for one in averages if one["point"] == "ours" and name in one]
                places = [one["bits_per_pixel"] for one in mine], [one[name] for one in mine]
                axis.plot(*places, color=CODEC, marker="D", markersize=5, label="anycodec", zorder=5)
                axis.set_xscale("log")
                axis.set_xticks(TICKS, [f"{rate:g}" for rate in TICKS])
                axis.minorticks_off()
                axis.set_xlabel("bits/pixel")
                axis.set_title(f"{title}: {label}")
            axes[0].legend(fontsize=8)
        path.write_bytes(png())


def curve_of(averages: Sequence[Row], coder: str, name: str) -> tuple[list[float], list[float]]:
    """Of a classic, with its point at equal bits."""
    shown = [one for one in averages if one["coder"] == coder and name in one]
    pairs = sorted((one["bits_per_pixel"], one[name]) for one in shown)
    return [rate for rate, _ in pairs], [value for _, value in pairs]


# --- runs ---------------------------------------------------------------------------------------


def quick(folder: Path) -> argparse.Namespace:
    """Options that stand for a run of two steps on built-in pictures."""
    files = [folder / "pictures" / f"{number}.png" for number in range(3)]
    files[0].parent.mkdir()
    for number, path in enumerate(files):
        pixels = scene(np.random.default_rng(number))[:128, :128]
        Image.fromarray((255 * pixels).astype(np.uint8)).save(path)
    config, run = common.ROOT / "configs" / "images-perceptual.yaml", folder / "run"
    settings = ("losses={l1: {type: l1}}", "train.best.metric=val/psnr", "data.workers=0")
    steps = ("train.steps=2", "train.val_every=2", "train.batch_size=2", "codec.base_channels=16")
    root = f"data.root={files[0].parent}"
    common.run(common.anycodec("train", config, *settings, *steps, root, "--quiet", "--out", run))
    return argparse.Namespace(pictures=run, picture_prior=None, files=files[:1], video=None)


def measured(options: argparse.Namespace, *, quickly: bool) -> dict[str, list[Row]]:
    """All rows of pictures and of clips, of which there is a run."""
    lpips = get_engine("torch").lpips
    distances = {} if quickly else {net: lpips(net, "cpu") for net in ("alex", "vgg")}
    stills, moving = (
        tuple(replace(coder, shown=coder.shown[: 0 if quickly else None]) for coder in coders)
        for coders in (STILLS, CLIPS)
    )
    found: dict[str, list[Row]] = {}
    if options.pictures:
        used = ways(options.pictures, options.picture_prior)
        found["pictures"] = list(rows(pictures(options.files), used, stills, distances))
    if options.video:
        used = ways(options.video, options.video_prior)
        with tempfile.TemporaryDirectory() as folder:
            items = list(clips(used[0].pipeline, options.clips, Path(folder), options.frames))
            found["clips"] = list(rows(items, used, moving, distances))
    return found


def options_of() -> argparse.Namespace:
    parser = common.arguments(__doc__)
    data = common.REAL_DATA / "vision"
    parser.add_argument("--pictures", type=Path, help="run of pictures")
    parser.add_argument("--picture-prior", type=Path, help="run of a prior of its tokens")
    parser.add_argument("--files", type=Path, nargs="+", default=sorted(data.glob("kodak/*.png")))
    parser.add_argument("--video", type=Path, help="run of video")
    parser.add_argument("--video-prior", type=Path, help="run of a prior of its tokens")
    parser.add_argument("--clips", type=Path, nargs="+", default=sorted(data.glob("video/[bc]*.mp4")))
    parser.add_argument("--frames", type=int, default=24, help="frames of each clip's test part at most")
    parser.add_argument("--figure", type=Path, help="where to draw the curves")
    options: argparse.Namespace = parser.parse_args()
    return options


def main() -> None:
    options = options_of()
    with common.workspace() as folder:
        found = measured(quick(folder) if options.quick else options, quickly=options.quick)
    tables = {title: means(one) for title, one in found.items()}
    for title, averages in tables.items():
        print(title, *map(text, averages), sep="\n")
    if options.figure:
        draw(tables, options.figure)
    said = [claim for title, averages in tables.items() for claim in claims(title, averages)]
    common.save("rate_distortion_pictures", options, {"claims": said, "means": tables, "rows": found})


if __name__ == "__main__":
    main()
