"""Local copies of files behind URLs, in `remote` of anycodec's cache.

    s3/bucket/a.pod5              a whole copy
    s3/bucket/.a.pod5.part        what has come of one so far
    s3/bucket/.a.pod5.json        which version of the file these are, and how large it is

A copy is renamed into place when it is whole. One process fetches a file, others wait for it; a fetch that
was killed goes on where it stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anycodec.atomic import atomic_write
from anycodec.cache import cache_folder
from anycodec.errors import DataError, ResourceError
from anycodec.io.remote import RemoteFile, described, piece
from anycodec.urls import inside, url_of

PIECE = 8 * 2**20
"""Bytes of a request."""
_checked: set[Path] = set()
"""Copies that this process has compared with their files."""


def local_copy(path: Path, limit_gb: float | None = None) -> Path:
    """A file as the libraries of formats want it: on this machine.

    A copy that is there is compared with the file once a process, by size and version.

    Args:
        path: anywhere.
        limit_gb: bytes of all copies together, in 10^9; the ones used longest ago go. None = no limit.

    Raises:
        DataError: it can't be fetched.
        ResourceError: it is larger than the limit, or the disk is full.
    """
    if url_of(path) is None:
        return path
    copy = copy_of(path)
    if copy not in _checked or not copy.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        with _lock(copy):
            _make(described(path), copy, limit_gb)
        _checked.add(copy)
    os.utime(copy)
    return copy


def copy_of(path: Path) -> Path:
    """Where the copy of a file or folder is, or would be; local ones are their own."""
    return path if url_of(path) is None else cache_folder() / "remote" / inside(path)


def _make(file: RemoteFile, copy: Path, limit_gb: float | None) -> None:
    """Have a whole copy of this version of a file."""
    wanted = {"url": url_of(file.path), "size": file.size, "version": file.version}
    same = _note(copy) == wanted
    if same and copy.is_file() and copy.stat().st_size == file.size:
        return
    part = copy.with_name(f".{copy.name}.part")
    if not same:
        part.unlink(missing_ok=True)
        copy.unlink(missing_ok=True)
    if limit_gb is not None:
        _make_room(file, limit_gb)
    atomic_write(_note_path(copy), json.dumps(wanted))
    _fetch(file, part)
    if described(file.path).version != file.version:
        part.unlink()
        raise DataError("the file changed while it was fetched", where=str(wanted["url"]), how="try again")
    part.replace(copy)


def _fetch(file: RemoteFile, part: Path) -> None:
    """Add to the part of a copy until it is whole."""
    with part.open("ab") as out:
        while out.tell() < file.size:
            start = out.tell()
            out.write(piece(file.path, start, min(start + PIECE, file.size)))
        out.flush()
        os.fsync(out.fileno())


def _make_room(file: RemoteFile, limit_gb: float) -> None:
    """Remove the copies used longest ago until one more fits.

    Raises:
        ResourceError: it alone is larger than the limit.
    """
    room = limit_gb * 1e9 - file.size
    if room < 0:
        raise ResourceError(
            f"the file has {file.size / 1e9:.3g} GB, and data.cache_limit_gb is {limit_gb:g}",
            where=str(url_of(file.path)),
            how="raise the limit",
        )
    folder = cache_folder() / "remote"
    copies = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    used = {path: path.stat() for path in copies}
    total = sum(status.st_size for status in used.values())
    for path in sorted(copies, key=lambda path: used[path].st_mtime):
        if total <= room:
            return
        path.unlink(missing_ok=True)
        total -= used[path].st_size


def _note_path(copy: Path) -> Path:
    return copy.with_name(f".{copy.name}.json")


def _note(copy: Path) -> object:
    """What is known of a copy, None where that is nothing."""
    try:
        return json.loads(_note_path(copy).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


@contextmanager
def _lock(copy: Path) -> Iterator[None]:
    """One process at a time; the system lets go when it dies."""
    import fcntl

    with copy.with_name(f".{copy.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
