"""A data set copied once to a fast local disk (`data.stage_to`), and read from there."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

from anycodec.atomic import atomic_path
from anycodec.config.data import DataSpec
from anycodec.config.run import RunSpec
from anycodec.data.loader import PreparedData, open_data
from anycodec.errors import DataError, Notice
from anycodec.io.discover import base_folder, discover
from anycodec.urls import url_of
from anycodec.workflows.console import out as console
from anycodec.workflows.progress import track

_CHUNK = 1 << 22
_SAME_TIME_NS = 2 * 10**9
"""Coarsest time that file systems store."""


def open_staged(spec: RunSpec) -> PreparedData:
    """The data of a run, from its copy where `data.stage_to` asks for one.

    Raises:
        DataError: see `anycodec.data.loader.open_data`, or a file that can't be copied.
        ResourceError: the local disk is full.
    """
    return open_data(spec.model_copy(update={"data": stage(spec.data)}))


def stage(source: DataSpec) -> DataSpec:
    """The source reading its copy; as it is where there is none, or the copy would be too large."""
    if source.stage_to is None or source.root is None:
        return source
    if url_of(source.root) is not None:
        warnings.warn("the data is not staged: copies of remote files are local anyway", Notice, stacklevel=2)
        return source
    base = base_folder(source.root)
    files = discover(source.root, source).files
    folder = source.stage_to / _name(source, base)
    pairs = [(path, folder / path.relative_to(base)) for path in files]
    missing = [pair for pair in pairs if not _same(*pair)]
    too_large = _too_large(source, files, missing)
    if too_large:
        warnings.warn(f"the data is not staged: {too_large}; it is read from {base}", Notice, stacklevel=2)
        return source
    for path, target in track(missing, len(missing), "staging"):
        _copy(path, target)
    _drop_others(folder, {target for _, target in pairs})
    total = sum(path.stat().st_size for path in files)
    console.print(
        f"staged in {folder}: {len(missing):,} of {len(files):,} files copied, {total / 1e6:,.1f} MB in all",
        markup=False,
    )
    return source.model_copy(update={"root": folder / source.root.relative_to(base)})


def _name(source: DataSpec, base: Path) -> str:
    """A folder of its own for each data set and choice of files."""
    chosen = "\0".join([str(source.root and source.root.absolute()), source.type, *source.exclude])
    return f"{base.absolute().name}-{hashlib.sha256(chosen.encode()).hexdigest()[:8]}"


def _same(path: Path, copy: Path) -> bool:
    """Whether a copy is there already, by size and time, as rsync tells."""
    if not copy.is_file():
        return False
    old, new = path.stat(), copy.stat()
    return old.st_size == new.st_size and abs(old.st_mtime_ns - new.st_mtime_ns) < _SAME_TIME_NS


def _too_large(source: DataSpec, files: Sequence[Path], missing: Sequence[tuple[Path, Path]]) -> str | None:
    """Why the data can't be staged, None if it can."""
    assert source.stage_to is not None
    source.stage_to.mkdir(parents=True, exist_ok=True)
    total, limit = sum(path.stat().st_size for path in files), source.stage_limit_gb
    if limit is not None and total > limit * 1e9:
        return f"{total / 1e9:,.2f} GB are more than data.stage_limit_gb {limit:g}"
    wanted, free = sum(path.stat().st_size for path, _ in missing), shutil.disk_usage(source.stage_to).free
    if wanted > free:
        return f"{wanted / 1e9:,.2f} GB don't fit into the {free / 1e9:,.2f} GB free in {source.stage_to}"
    return None


def _copy(path: Path, target: Path) -> None:
    """Copy a file atomically, with its time, and read the copy again.

    Raises:
        DataError: the copy differs.
        ResourceError: the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        digest = hashlib.blake2b()
        with path.open("rb") as source, temporary.open("wb") as out:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
        with temporary.open("rb") as written:
            if hashlib.file_digest(written, "blake2b").digest() != digest.digest():
                raise DataError(
                    "the copy differs from the file", where=str(target), how="check the disk of data.stage_to"
                )
        status = path.stat()
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))


def _drop_others(folder: Path, files: set[Path]) -> None:
    """Remove copies of files that the data set has no more."""
    for path in folder.rglob("*"):
        if path.is_file() and path not in files and not path.name.startswith("."):
            path.unlink()
