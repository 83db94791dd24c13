"""`anycodec split`: a folder of files -> training, validation and test as a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from anycodec.config.data import DataSpec
from anycodec.data.loader import find_signals
from anycodec.data.manifest import Manifest, Row, row, write_manifest
from anycodec.data.split import Piece, Split, make_split
from anycodec.errors import DataError, UserError
from anycodec.io.discover import base_folder
from anycodec.io.formats import format_for, format_names
from anycodec.types import Skipped
from anycodec.workflows.console import out as console

KINDS = ("time", "file", "signal", "class")
"""What `--by` can name."""


def run(
    *,
    root: Path,
    by: str,
    ratios: tuple[float, float, float],
    guard: int,
    seed: int,
    out: Path,
    type: str | None,  # noqa: A002
) -> int:
    """Split the files of a folder and write the manifest.

    Args:
        root: folder, file or glob pattern.
        by: time, file, signal or class.
        ratios: shares of training, validation and test.
        guard: samples, frames or (pictures) files dropped at each border, with `by` time.
        seed: seed of the shuffle, with any other `by`.
        out: the manifest to write.
        type: kind of files (`data.type`); None = what is found, if it is one kind.

    Raises:
        UserError: settings that make no sense, or files of several kinds.
        DataError: no usable data, or a split that can't be made.
    """
    settings = _settings(by, ratios, guard, seed)
    source = _source(root, type or only_type(root), settings)
    catalog = find_signals(source)
    split = make_split(catalog, source)
    base = base_folder(root)

    def rows(pieces: Sequence[Piece]) -> tuple[Row, ...]:
        return tuple(row(piece.entry, piece.start, piece.stop, base) for piece in pieces)

    write_manifest(
        out,
        Manifest(
            type=source.type,
            by=by,
            ratios=ratios,
            guard=guard,
            seed=seed,
            train=rows(split.train),
            val=rows(split.val),
            test=rows(split.test),
        ),
    )
    console.print(_table(split))
    _print_skipped(catalog.skipped)
    console.print(f"written: [bold]{out}[/bold]; use it with data.split.type=manifest data.split.path={out}")
    return 0


def _settings(by: str, ratios: tuple[float, float, float], guard: int, seed: int) -> dict[str, Any]:
    """The `data.split` part of a configuration."""
    if by not in KINDS:
        raise UserError(f"can't split by {by!r}", where="--by", how=f"one of {', '.join(KINDS)}")
    if guard and by != "time":
        raise UserError("a guard separates blocks of time only", where="--guard", how="add --by time")
    return {"type": by, "ratios": ratios} | ({"guard": guard} if by == "time" else {"seed": seed})


def _source(root: Path, kind: str, split: dict[str, Any]) -> DataSpec:
    if kind not in format_names():
        raise UserError(f"unknown type {kind!r}", where="--type", how=f"one of {', '.join(format_names())}")
    try:
        source: DataSpec = TypeAdapter(DataSpec).validate_python({"type": kind, "root": root, "split": split})
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(first["msg"].removeprefix("Value error, "), where=f"--{first['loc'][3]}") from error
    return source


def only_type(root: Path) -> str:
    """The kind of the files under `root`, where there is only one."""
    base = base_folder(root)
    files = root.rglob("*") if root.is_dir() else base.glob(str(root.relative_to(base)))
    kinds: Counter[str] = Counter()
    for path in files:
        try:
            kinds[format_for(path)] += path.is_file()
        except DataError:
            continue
    if len(kinds) == 1:
        return next(iter(kinds))
    if not kinds:
        raise DataError("no file of a known kind", where=str(root), how="check the folder, or give --type")
    found = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    raise UserError(f"files of several kinds: {found}", where=str(root), how="choose one with --type")


def _table(split: Split) -> Table:
    """Parts of signals a class and split; of series and videos also their samples or frames."""
    parts = {"training": split.train, "validation": split.val, "test": split.test}
    labels = sorted({piece.label for pieces in parts.values() for piece in pieces}, key=str)
    table = Table("class", *parts)
    for label in labels:
        of_class = ([piece for piece in pieces if piece.label == label] for pieces in parts.values())
        table.add_row(label or "-", *map(_cell, of_class))
    if len(labels) > 1:
        table.add_section()
        table.add_row("all", *map(_cell, parts.values()))
    return table


def _cell(pieces: Sequence[Piece]) -> str:
    length = sum(piece.length for piece in pieces)
    return f"{len(pieces):,}" if length == len(pieces) else f"{len(pieces):,} ({length:,} long)"


def _print_skipped(skipped: Sequence[Skipped]) -> None:
    for item in skipped[:5]:
        console.print(f"  left out: {item.path}: {item.reason}", style="yellow")
    if len(skipped) > 5:
        console.print(f"  ... {len(skipped) - 5} more", style="yellow")
