"""The manifest: a split as a JSON file, written by `anycodec split`.

    {"format": "anycodec split", "version": 1, "type": "image", "by": "time", ...,
     "train": [["ID_1/001.png", 0, "", 0, 1], ...], "val": [...], "test": [...]}

A row is (path relative to the data's folder, index of the signal in the file, its id, start, stop).
Rows are only compared with what was found in the data's folder: no path of a manifest is opened.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from anycodec.atomic import atomic_write
from anycodec.config.base import Spec
from anycodec.data.catalog import Entry, relative_name
from anycodec.errors import DataError
from anycodec.types import Skipped

VERSION = 1
LARGEST_FILE = 2**28
"""Bytes of a manifest that are read at most."""

Index = Annotated[int, Field(ge=0)]
Row = tuple[str, Index, str, Index, Index]
"""path, signal, id, start, stop."""


class Manifest(Spec):
    """The content of a manifest."""

    format: Literal["anycodec split"] = "anycodec split"
    version: Literal[1] = 1
    type: str = Field(description="data.type of the files")
    by: str = Field(description="kind of split")
    ratios: tuple[float, float, float] = Field(description="shares of training, validation and test")
    guard: int = Field(description="samples, frames or files dropped at each border")
    seed: int = Field(description="seed of the shuffle")
    train: tuple[Row, ...]
    val: tuple[Row, ...]
    test: tuple[Row, ...]


def read_manifest(path: Path) -> Manifest:
    """Read and validate a manifest.

    Raises:
        DataError: missing, not a manifest, or of another version.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise DataError(f"larger than {LARGEST_FILE} bytes", where=str(path))
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"can't read the manifest: {error.strerror}", where=str(path), how="write one: anycodec split DIR"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not a manifest: {error}", where=str(path)) from error
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, int) and version != VERSION:
        raise DataError(
            f"manifest of version {version}; this program reads version {VERSION}",
            where=str(path),
            how="write it again: anycodec split DIR",
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the top level"
        raise DataError(f"not a manifest: {place}: {first['msg']}", where=str(path)) from error


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest atomically, a row a line."""
    header = manifest.model_dump(mode="json", exclude={"train", "val", "test"})
    parts = [f'"{name}": {json.dumps(value)}' for name, value in header.items()]
    for name in ("train", "val", "test"):
        rows = ",\n  ".join(json.dumps(row) for row in getattr(manifest, name))
        parts.append(f'"{name}": [\n  {rows}]' if rows else f'"{name}": []')
    atomic_write(path, "{" + ",\n ".join(parts) + "}\n")


def row(entry: Entry, start: int, stop: int, base: Path) -> Row:
    """The row of samples or frames [start, stop) of a signal."""
    return relative_name(entry.path, base), entry.signal, entry.id, start, stop


def resolve(
    rows: Sequence[Row], entries: Sequence[Entry], base: Path
) -> tuple[list[tuple[Entry, int, int]], list[Skipped]]:
    """Find the signals of rows: (signal, start, stop) of those that fit, and the others."""
    known = {(relative_name(entry.path, base), entry.signal): entry for entry in entries}
    found, missing = [], []
    for path, signal, name, start, stop in rows:
        entry = known.get((path, signal))
        if entry is None or entry.id != name:
            missing.append(Skipped(path, f"the data has no signal {name or signal} that the manifest names"))
        elif not start < stop <= entry.length:
            missing.append(Skipped(path, f"the manifest names [{start}, {stop}) of {entry.length}"))
        else:
            found.append((entry, start, stop))
    return found, missing
