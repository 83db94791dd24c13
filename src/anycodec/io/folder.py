"""A folder of pictures whose names a file holds: nobody knows who wrote them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from anycodec.atomic import atomic_folder
from anycodec.errors import FormatError

_LONGEST_NAME = 255
"""Bytes of a file's name in usual file systems."""


def write_folder(path: Path, pictures: Iterable[tuple[str, bytes]]) -> None:
    """Write PNG files under their names, atomically: the folder appears when all are written.

    A picture that was of another kind gets the suffix .png in place of its own, or after it where there is
    one of that name already.

    Raises:
        FormatError: a name that leads out of the folder, or comes twice.
        ResourceError: the disk is full.
    """
    with atomic_folder(path) as folder:
        for name, content in pictures:
            target = _free(folder, _inside(name, path), path)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise _refused(name, "is below another one", path) from error
            target.write_bytes(content)


def _inside(name: str, path: Path) -> PurePosixPath:
    """A name, where it is one below a folder on every system."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or len(part.encode()) > _LONGEST_NAME for part in parts):
        raise _refused(name, "is no name below a folder", path)
    if any(letter in "\\:" or not letter.isprintable() for letter in name):
        raise _refused(name, "is no name of a file", path)
    return PurePosixPath(name)


def _free(folder: Path, name: PurePosixPath, path: Path) -> Path:
    """Where a picture goes."""
    for target in (folder / name.with_suffix(".png"), folder / f"{name}.png"):
        if not target.exists():
            return target
    raise _refused(str(name), "comes twice", path)


def _refused(name: str, why: str, path: Path) -> FormatError:
    shown = "".join(letter if letter.isprintable() else "?" for letter in name[:80])
    return FormatError(
        f"the picture {shown!r} {why}; nothing was restored",
        where=str(path),
        how="give the names of others with --reads",
    )
