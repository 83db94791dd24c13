"""Training, validation and test: which part of which signal belongs to which."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anycodec.config.data import (
    ClassSplit,
    DataSpec,
    EttSplit,
    FileSplit,
    ManifestSplit,
    SignalSplit,
    TimeSplit,
)
from anycodec.config.run import window_shape
from anycodec.data.catalog import Catalog, Entry
from anycodec.data.manifest import Row, read_manifest, resolve
from anycodec.errors import DataError
from anycodec.io.discover import base_folder, natural_key
from anycodec.types import Skipped

Ratios = tuple[float, float, float]

ETT_HOURS = (12 * 30 * 24, 4 * 30 * 24, 4 * 30 * 24)
"""Training, validation and test of the ETT convention: months of 30 days (Zhou 2021)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples or frames [start, stop) of a signal; [0, 1) is a picture."""

    entry: Entry
    start: int
    stop: int

    @property
    def path(self) -> str:
        return self.entry.path

    @property
    def signal(self) -> int:
        return self.entry.signal

    @property
    def id(self) -> str:
        return self.entry.id

    @property
    def label(self) -> str | None:
        return self.entry.label

    @property
    def length(self) -> int:
        return self.stop - self.start


Pieces = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts, and what none of them could use."""

    train: Pieces
    val: Pieces
    test: Pieces
    skipped: tuple[Skipped, ...] = ()


def make_split(catalog: Catalog, source: DataSpec) -> Split:
    """Divide a catalog as `source.split` says.

    Raises:
        DataError: the data can't be split this way, or nothing would be left for training.
    """
    match source.split:
        case TimeSplit(ratios=ratios, guard=guard):
            split = _by_time(catalog.entries, ratios, guard)
        case FileSplit(ratios=ratios, seed=seed):
            split = _by_group(catalog.entries, "file", lambda entry: entry.path, ratios, seed)
        case SignalSplit(ratios=ratios, seed=seed):
            split = _by_group(
                catalog.entries, "signal", lambda entry: (entry.path, entry.signal), ratios, seed
            )
        case ClassSplit(ratios=ratios, seed=seed):
            split = _by_group(catalog.entries, "class", _label, ratios, seed)
        case EttSplit(rows_per_hour=rows_per_hour):
            split = _ett(catalog.entries, rows_per_hour, window_shape(source)[0])
        case ManifestSplit(path=path):
            split = _from_manifest(catalog, source, path)
    if not split.train:
        raise DataError(
            f"the {source.split.type} split leaves nothing for training",
            where="data.split",
            how="use more data, a larger training share or another data.split.type",
        )
    return split


def apportion(total: int, ratios: Ratios) -> tuple[int, int, int]:
    """Divide `total` things by ratio; every share above 0 gets at least one, training first."""
    first, second = round(total * ratios[0]), round(total * (ratios[0] + ratios[1]))
    counts = [first, second - first, total - second]
    for part, ratio in enumerate(ratios):
        largest = max(range(3), key=lambda i: counts[i])
        if ratio > 0 and not counts[part] and counts[largest] > (part > 0):
            counts[largest] -= 1
            counts[part] += 1
    return counts[0], counts[1], counts[2]


def blocks(total: int, ratios: Ratios, guard: int) -> list[tuple[int, int]]:
    """[start, stop) of three consecutive blocks of `total`, `guard` apart.

    What is too short for a block a share goes to training as a whole.
    """
    shares = sum(ratio > 0 for ratio in ratios)
    usable = total - guard * (shares - 1)
    if usable < shares:
        return [(0, total), (total, total), (total, total)]
    bounds, start = [], 0
    for count in apportion(usable, ratios):
        bounds.append((start, start + count))
        start += count + (guard if count else 0)
    return bounds


def _by_time(entries: Sequence[Entry], ratios: Ratios, guard: int) -> Split:
    """Blocks within each series or video; pictures: blocks of consecutive files of each class."""
    parts: tuple[list[Piece], ...] = ([], [], [])
    pictures: dict[str | None, list[Entry]] = {}
    for entry in entries:
        if entry.axes == "HWC":
            pictures.setdefault(entry.label, []).append(entry)
            continue
        for part, (start, stop) in zip(parts, blocks(entry.length, ratios, guard), strict=True):
            if stop > start:
                part.append(Piece(entry, start, stop))
    for group in pictures.values():
        group.sort(key=lambda entry: natural_key(entry.path))
        for part, (start, stop) in zip(parts, blocks(len(group), ratios, guard), strict=True):
            part.extend(Piece(entry, 0, entry.length) for entry in group[start:stop])
    return _split(parts)


def _by_group(
    entries: Sequence[Entry], noun: str, key: Callable[[Entry], Hashable], ratios: Ratios, seed: int
) -> Split:
    """Whole groups (files, signals, classes), shuffled."""
    groups = list(dict.fromkeys(map(key, entries)))
    shares = sum(ratio > 0 for ratio in ratios)
    if len(groups) < min(2, shares):
        raise DataError(
            f"{len(groups)} {noun} can't be split by {noun}",
            where="data.split.type",
            how="use data.split.type=time, which cuts within signals"
            if noun != "class"
            else "put the files of each class into a folder of its own, or use data.split.type=time",
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    train, val, _ = apportion(len(groups), ratios)
    part_of = {groups[i]: int(place >= train) + int(place >= train + val) for place, i in enumerate(order)}
    parts: tuple[list[Piece], ...] = ([], [], [])
    for entry in entries:
        parts[part_of[key(entry)]].append(Piece(entry, 0, entry.length))
    return _split(parts)


def _ett(entries: Sequence[Entry], rows_per_hour: int, window: int) -> Split:
    """12/4/4 months; validation and test begin one window early, inside the part before, because the
    convention forecasts from a context of that length."""  # fmt: skip
    train, val, test = (hours * rows_per_hour for hours in ETT_HOURS)
    total = train + val + test
    for entry in entries:
        if entry.length < total:
            raise DataError(
                f"the ett split needs {total} rows, the file has {entry.length}",
                where=entry.path,
                how="use data.split.rows_per_hour=4 for ETTm and 1 for ETTh, or data.split.type=time",
            )
    return Split(
        tuple(Piece(entry, 0, train) for entry in entries),
        tuple(Piece(entry, max(0, train - window), train + val) for entry in entries),
        tuple(Piece(entry, max(0, train + val - window), total) for entry in entries),
    )


def _from_manifest(catalog: Catalog, source: DataSpec, path: Path) -> Split:
    manifest = read_manifest(path)
    base = base_folder(source.root) if source.root else path.parent
    skipped: list[Skipped] = []

    def pieces(rows: Sequence[Row]) -> Pieces:
        found, missing = resolve(rows, catalog.entries, base)
        if missing and source.on_error == "refuse":
            raise DataError(
                f"{len(missing)} lines of the manifest fit no signal of the data, "
                f"first {missing[0].path}: {missing[0].reason}",
                where=str(path),
                how="write it again: anycodec split DIR",
            )
        skipped.extend(missing)
        return tuple(Piece(*place) for place in found)

    train, val, test = map(pieces, (manifest.train, manifest.val, manifest.test))
    return Split(train, val, test, tuple(skipped))


def _split(parts: Sequence[Sequence[Piece]]) -> Split:
    train, val, test = map(tuple, parts)
    return Split(train, val, test)


def _label(entry: Entry) -> str:
    if entry.label is None:
        raise DataError(
            "the file has no class",
            where=entry.path,
            how="put the files of each class into a folder of its own, or use another data.split.type",
        )
    return entry.label
