"""Find the files of a data set: a folder, a file or a glob pattern."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from anycodec.config.data import SourceSpec
from anycodec.errors import DataError
from anycodec.io import remote
from anycodec.types import Skipped
from anycodec.urls import url_of

_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found.

    Attributes:
        files: in natural order (2 before 10), the same on every machine.
        skipped: what was left out, and why.
    """

    files: tuple[Path, ...]
    skipped: tuple[Skipped, ...]


def discover(root: Path, source: SourceSpec) -> Discovery:
    """Files of the source's format below a folder or URL, matching a pattern, or a single file.

    Raises:
        DataError: the root is missing or holds no such file.
    """
    from anycodec.io.formats import get_format

    suffixes = get_format(source.type).suffixes  # type: ignore[attr-defined]
    base = base_folder(root)
    candidates = _candidates(root)
    files, skipped = [], []
    for path in sorted(candidates, key=lambda path: natural_key(path.as_posix())):
        reason = _unfit(path, base, suffixes, source.exclude)
        if reason is None:
            files.append(path)
        else:
            skipped.append(Skipped(str(path), reason))
    if not files:
        raise _nothing_found(root, suffixes, skipped)
    return Discovery(tuple(files), tuple(skipped))


def label_of(path: Path, root: Path | None) -> str | None:
    """The class of a file: the name of its folder (ID_1 ...), None directly in the root."""
    if root is None or url_of(root) is not None:  # copies of remote files have a local root
        return None
    base = base_folder(root)
    inside = path.is_relative_to(base) and path.parent != base
    return path.parent.name if inside else None


def base_folder(root: Path) -> Path:
    """The folder that a data root (folder, file or glob pattern) starts from."""
    if url_of(root) is not None and not _WILDCARD.search(str(root)):
        return root.parent if remote.is_file(root) else root
    if root.is_dir():
        return root
    if root.exists():
        return root.parent
    return next(parent for parent in root.parents if not _WILDCARD.search(str(parent)))


def natural_key(text: str) -> tuple[tuple[int, str], ...]:
    """Sort key that puts numbers by value: ID_2 before ID_10; text itself breaks ties."""
    parts = re.split(r"([0-9]+)", text)
    return (*((int(part), "") if part.isdecimal() else (0, part) for part in parts), (0, text))


def _candidates(root: Path) -> Iterable[Path]:
    if url_of(root) is not None:
        return [file.path for file in remote.listed(root)]
    if root.is_dir():
        return [path for path in root.rglob("*") if path.is_file()]
    if root.exists():
        return [root]
    if _WILDCARD.search(str(root)):
        found = glob.iglob(str(root), recursive=True, include_hidden=True)  # noqa: PTH207 (absolute patterns)
        return [path for path in map(Path, found) if path.is_file()]
    raise DataError(f"{root} does not exist", where=str(root), how="check data.root")


def _unfit(path: Path, base: Path, suffixes: Sequence[str], exclude: Sequence[str]) -> str | None:
    """Why a file is left out, None if it isn't."""
    inside = path.relative_to(base) if path.is_relative_to(base) else path
    if any(part.startswith(".") for part in inside.parts) or path.name.endswith(("~", ".tmp", ".part")):
        return "hidden or temporary"
    if any(fnmatch(inside.as_posix(), pattern) or fnmatch(path.name, pattern) for pattern in exclude):
        return "excluded by data.exclude"
    if not path.name.lower().endswith(tuple(suffixes)):
        return f"not one of {', '.join(suffixes)}"
    if remote.size_of(path) == 0:
        return "empty (0 bytes)"
    return None


def _nothing_found(root: Path, suffixes: Sequence[str], skipped: Sequence[Skipped]) -> DataError:
    counts = Counter(f"{Path(item.path).suffix or 'no suffix'}: {item.reason}" for item in skipped)
    there = "; ".join(f"{count} x {kind}" for kind, count in counts.most_common(5)) or "nothing"
    return DataError(
        f"no {' / '.join(suffixes)} file found; there is: {there}",
        where=str(root),
        how="check data.root, data.exclude and data.type",
    )
