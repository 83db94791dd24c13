"""`anycodec latents`: a trained codec and data -> latents on disk for generators."""

from __future__ import annotations

import hashlib
import json
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from anycodec.atomic import atomic_write
from anycodec.checkpoint import read_arrays, write_arrays
from anycodec.data.catalog import relative_name
from anycodec.data.dataset import PlacedWindows, WindowDataset
from anycodec.data.latents import (
    MANIFEST,
    SMALLEST_DEVIATION,
    SPLITS,
    CodecEntry,
    LatentsInfo,
    ShardEntry,
    rows_name,
    set_fingerprint,
    shard_name,
)
from anycodec.data.loader import find_signals, in_channels
from anycodec.data.moments import Moments
from anycodec.data.resample import open_at_rate
from anycodec.data.split import make_split
from anycodec.errors import DataError, Notice, UserError
from anycodec.io.discover import base_folder, natural_key
from anycodec.types import Skipped
from anycodec.workflows.console import out as console
from anycodec.workflows.exclusive import exclusive
from anycodec.workflows.native import describe_native
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.progress import track

SHARD_VALUES = 2**24
"""Scalar values of a shard's latents, about."""
BATCH_VALUES = 2**22
"""Scalar values of the windows that are handed to the codec at once, about."""


@dataclass(frozen=True, slots=True)
class Part:
    """A split of the data under one of the folders given.

    Attributes:
        split: its number in `SPLITS`.
        base: what file names are relative to.
        windows: end to end.
    """

    split: int
    base: Path
    windows: WindowDataset


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be written: a pure function of the codec, the data and the split.

    Attributes:
        parts: in order.
        classes: names of the labels.
        shard_items: items of a shard; an item of a video is a clip.
        fingerprint: SHA-256.
        data: what the manifest says of the data.
        skipped: what was left out before any value was read.
    """

    parts: tuple[Part, ...]
    classes: tuple[str, ...]
    shard_items: int
    fingerprint: str
    data: Mapping[str, Any]
    skipped: tuple[Skipped, ...]

    @property
    def items(self) -> int:
        return sum(len(part.windows) for part in self.parts)

    @property
    def shards(self) -> int:
        return -(-self.items // self.shard_items)

    def item(self, number: int) -> tuple[Part, int]:
        """The part of an item, and its number there."""
        for part in self.parts:
            if number < len(part.windows):
                return part, number
            number -= len(part.windows)
        raise IndexError(number)


def run(run: Path, inputs: Sequence[Path], out: Path, device: str = "auto", shard_values: int = 0) -> int:
    """Write the latents of all data, or what a stopped job of the same left to do.

    Args:
        run: the codec's run.
        inputs: folders, files or patterns; none = the data that the codec was trained on.
        out: the folder to write.
        device: auto, cpu or cuda.
        shard_values: scalar values of a shard; 0 = `SHARD_VALUES`.

    Raises:
        RunError: not a finished run of a codec.
        DataError: no usable data, or data that is not like the codec's.
        UserError: the folder holds something else, or another job is at it.
        ResourceError: the disk is full.
    """
    pipeline = Pipeline.open(run, device)
    roots = list(inputs) or _trained_on(pipeline)
    plan = _plan(pipeline, roots, shard_values or SHARD_VALUES)
    out.mkdir(parents=True, exist_ok=True)
    with exclusive(out), ExitStack() as opened:
        for part in plan.parts:
            opened.enter_context(closing(part.windows))
        for left in out.glob(".*.tmp.*"):  # of a job that was killed
            left.unlink()
        _check_folder(out, plan)
        for number in track(range(plan.shards), plan.shards, "latents"):
            if not (out / shard_name(number)).is_file():
                _write_shard(out, number, plan, pipeline)
        info = _finish(out, plan, pipeline)
    _report(out, info)
    return 0


def _trained_on(pipeline: Pipeline) -> list[Path]:
    root = pipeline.source.root
    if root is None:
        raise UserError("no data given", how="name its folder: anycodec latents RUN DIR -o OUT")
    return [root]


# --- the plan -----------------------------------------------------------------------------------


def _plan(pipeline: Pipeline, roots: Sequence[Path], shard_values: int) -> Plan:
    parts: list[Part] = []
    skipped: list[Skipped] = []
    labels: set[str] = set()
    fingerprints: list[str] = []
    for root in roots:
        source = pipeline.source.model_copy(update={"root": root})
        catalog = find_signals(source)
        _check_channels(in_channels(source, catalog), pipeline, root)
        split = make_split(catalog, source)
        skipped += [*catalog.skipped, *split.skipped]
        labels |= {entry.label for entry in catalog.entries if entry.label is not None}
        base = base_folder(root)
        fingerprints.append(catalog.fingerprint(base))
        for number, pieces in enumerate((split.train, split.val, split.test)):
            if pieces:
                windows = WindowDataset(
                    pieces, source, pipeline.normalizer, open_at_rate, training=False,
                    seed=pipeline.spec.seed, axes=pipeline.spec.codec.axes,
                )  # fmt: skip
                parts.append(Part(number, base, windows))
    parts.sort(key=lambda part: part.split)
    first = parts[0].windows.placed(0).windows
    latent_values = pipeline.codec.latents(first).size
    data = {
        "type": pipeline.source.type,
        "fingerprint": hashlib.sha256("".join(fingerprints).encode()).hexdigest(),
        "split": pipeline.source.split.model_dump(mode="json"),
        "roots": [str(root) for root in roots],
    }
    items = max(1, shard_values // latent_values)
    decisive = [pipeline.fingerprint, data["fingerprint"], data["split"], items]
    return Plan(
        parts=tuple(parts),
        classes=tuple(sorted(labels, key=natural_key)),
        shard_items=items,
        fingerprint=hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest(),
        data=data,
        skipped=tuple(skipped),
    )


def _check_channels(found: int, pipeline: Pipeline, root: Path) -> None:
    if found != pipeline.in_channels:
        raise DataError(
            f"the data has {found} channels, the codec was trained on {pipeline.in_channels}",
            where=str(root),
            how="give data like the codec's, or train a codec on this",
        )


def _check_folder(out: Path, plan: Plan) -> None:
    """Refuse a folder that holds anything but what this job would write."""
    how = "choose another folder with -o"
    if {_job_of(path)["plan"] for path in out.glob("shard-*.safetensors")} - {plan.fingerprint}:
        raise UserError("the folder holds latents of another codec, data or split", where=str(out), how=how)
    ours = {MANIFEST, *(name(n) for n in range(plan.shards) for name in (shard_name, rows_name))}
    others = [path.name for path in out.iterdir() if path.name not in ours and not path.name.startswith(".")]
    if others:
        raise UserError(f"the folder holds {min(others)}", where=str(out), how=how)


def _job_of(shard: Path) -> dict[str, Any]:
    """What a shard says of the job that wrote it: `plan`, and what was `skipped`.

    Raises:
        DataError: it is damaged or foreign.
    """
    try:
        with safe_open(shard, framework="numpy") as file:
            job: dict[str, Any] = json.loads(file.metadata()["job"])
            return {"plan": job["plan"], "skipped": [(where, why) for where, why in job["skipped"]]}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"a damaged or foreign shard ({error})", where=str(shard), how="remove it, and run the same again"
        ) from error


# --- a shard ------------------------------------------------------------------------------------


def _write_shard(out: Path, number: int, plan: Plan, pipeline: Pipeline) -> None:
    """Encode the items of a shard and write it, its places first: a shard that is there is finished."""
    rows = _Rows(plan, pipeline)
    first = number * plan.shard_items
    for item in range(first, min(first + plan.shard_items, plan.items)):
        part, index = plan.item(item)
        try:
            rows.add(part, part.windows.placed(index))
        except DataError as error:
            if pipeline.source.on_error == "refuse":
                raise
            rows.skipped.append((error.where or "", error.what))
    arrays = rows.arrays()
    atomic_write(out / rows_name(number), "".join(json.dumps(place) + "\n" for place in rows.places))
    job = json.dumps({"plan": plan.fingerprint, "skipped": rows.skipped})
    write_arrays(out / shard_name(number), arrays, {"job": job})  # one entry: safetensors does not order them


class _Rows:
    """The rows of a shard, encoded in batches whose size depends on nothing but the codec's windows."""

    def __init__(self, plan: Plan, pipeline: Pipeline) -> None:
        self._plan = plan
        self._pipeline = pipeline
        self._pending: list[NDArray[np.float32]] = []
        self._pending_labels: list[int] = []
        self._columns: dict[str, list[NDArray[Any]]] = {}
        self._class_numbers = {name: number for number, name in enumerate(plan.classes)}
        self._codec_classes: list[str] = list(pipeline.manifest.get("classes", []))
        self.places: list[dict[str, Any]] = []
        self.skipped: list[tuple[str, str]] = []

    def add(self, part: Part, placed: PlacedWindows) -> None:
        """Take in the windows of an item."""
        count, channels = placed.windows.shape[:2]
        piece = placed.piece
        label = self._class_numbers.get(piece.label, -1) if piece.label is not None else -1
        self._column("labels", np.full(count, label, np.int32))
        self._column("split", np.full(count, part.split, np.uint8))
        for name, value in (("shift", placed.affine.shift), ("scale", placed.affine.scale)):
            self._column(name, np.broadcast_to(value, (count, channels)).astype(np.float32))
        file = relative_name(piece.path, part.base)
        start = list(placed.origin)
        if piece.entry.axes != "HWC":
            start[0] += piece.start
        folded = count > 1
        for number in range(count):
            place = [start[0] + number, *start[1:]] if folded else start
            self.places.append({"file": file, "signal": piece.signal, "start": place})
        self._pending.append(placed.windows)
        known = piece.label in self._codec_classes
        codec_label = self._codec_classes.index(piece.label) if known and piece.label is not None else -1
        self._pending_labels += [codec_label] * count
        if len(self._pending_labels) * placed.windows[0].size >= BATCH_VALUES:
            self._encode()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All columns.

        Raises:
            DataError: every window was left out, or latents are not finite.
        """
        self._encode()
        if not self._columns:
            what, why = self.skipped[0]
            raise DataError(f"no window of a whole shard could be read: {why}", where=what)
        arrays = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        if not np.isfinite(arrays["latents"]).all():
            raise DataError("the codec gives latents that are no numbers", where=str(self._pipeline.run.path))
        return arrays

    def _column(self, name: str, values: NDArray[Any]) -> None:
        self._columns.setdefault(name, []).append(values)

    def _encode(self) -> None:
        if not self._pending:
            return
        windows, codec = np.concatenate(self._pending), self._pipeline.codec
        labels = np.array(self._pending_labels, np.int64)
        self._column("latents", codec.latents(windows, labels if self._codec_classes else None))
        if codec.codebook_sizes:
            tokens = codec.encode(windows)
            for level, (grid, size) in enumerate(zip(tokens.grids, tokens.codebook_sizes, strict=True)):
                self._column(f"tokens.{level}", grid.astype(np.uint16 if size <= 2**16 else np.uint32))
        self._pending, self._pending_labels = [], []


# --- the end ------------------------------------------------------------------------------------


def _finish(out: Path, plan: Plan, pipeline: Pipeline) -> LatentsInfo:
    """Gather statistics over the shards and write the manifest, here and in the codec's run."""
    moments = Moments()
    splits, trained = np.zeros(len(SPLITS), int), np.zeros(len(plan.classes) + 1, int)
    shards, skipped, shapes = [], [(s.path, s.reason) for s in plan.skipped], {}
    for path, arrays in _shards(out, plan):
        rows = arrays["latents"][arrays["split"] == 0]
        if len(rows):
            moments.add(np.moveaxis(rows, 1, -1))
        splits += np.bincount(arrays["split"], minlength=len(SPLITS))
        trained += np.bincount(arrays["labels"][arrays["split"] == 0] + 1, minlength=len(trained))
        skipped += _job_of(path)["skipped"]
        shapes = {name: array.shape[1:] for name, array in arrays.items()}
        shards.append(ShardEntry(name=path.name, rows=len(arrays["labels"]), sha256=_sha256(path)))
    _warn_of_small_classes(plan.classes, trained[1:].tolist())
    deviation = moments.deviation
    spec, sizes = pipeline.spec, pipeline.codec.codebook_sizes
    info = LatentsInfo(
        codec=CodecEntry(
            path=str(pipeline.run.path.resolve()), fingerprint=pipeline.fingerprint,
            type=spec.codec.type, bottleneck=spec.codec.bottleneck,
        ),
        data=dict(plan.data),
        native=describe_native(plan.parts[0].windows.pieces[0], pipeline.source),
        in_channels=pipeline.in_channels,
        window=pipeline.windower.size,
        classes=plan.classes,
        shape=shapes["latents"],
        codebook_sizes=sizes,
        grids=tuple(shapes[f"tokens.{level}"] for level in range(len(sizes))),
        mean=tuple(moments.mean.tolist()),
        std=tuple(np.where(deviation < SMALLEST_DEVIATION, 1.0, deviation).tolist()),
        counts=dict(zip(SPLITS, splits.tolist(), strict=True)),
        class_counts=dict(zip(plan.classes, trained[1:].tolist(), strict=True)),
        shards=tuple(shards),
        skipped=tuple(skipped),
        fingerprint=set_fingerprint(pipeline.fingerprint, shards, plan.classes),
    )  # fmt: skip
    atomic_write(out / MANIFEST, json.dumps(info.model_dump(mode="json"), indent=1) + "\n")
    statistics = {"mean": info.mean, "std": info.std, "latents": info.fingerprint}
    pipeline.run.update_manifest(latent_statistics=statistics)
    return info


def _shards(out: Path, plan: Plan) -> Iterator[tuple[Path, dict[str, NDArray[Any]]]]:
    for number in range(plan.shards):
        path = out / shard_name(number)
        yield path, read_arrays(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _warn_of_small_classes(classes: Sequence[str], counts: Sequence[int]) -> None:
    small = [name for name, count in zip(classes, counts, strict=True) if count < 2]
    if small:
        warnings.warn(
            f"{len(small)} classes have fewer than two training windows ({', '.join(small[:3])}): "
            "a generator can only repeat those",
            Notice,
            stacklevel=2,
        )


def _report(out: Path, info: LatentsInfo) -> None:
    counts = ", ".join(f"{count:,} {name}" for name, count in info.counts.items())
    shape = " x ".join(map(str, info.shape))
    classes = f", {len(info.classes)} classes" if info.classes else ", no classes"
    console.print(f"latents of {shape} for {counts} windows{classes} in {len(info.shards)} shards")
    for path, reason in info.skipped[:5]:
        console.print(f"  left out: {path}: {reason}", style="yellow", markup=False)
    console.print(f"next: anycodec train configs/gait-dit.yaml latents={shlex.quote(str(out))}", markup=False)
