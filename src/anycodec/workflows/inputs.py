"""The files that a user names: folders, single files, patterns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from anycodec.config.data import SourceSpec
from anycodec.io.discover import base_folder, discover
from anycodec.types import Skipped


def find_files(inputs: Iterable[Path], source: SourceSpec) -> tuple[dict[Path, Path], list[Skipped]]:
    """The files of a format, each with its path as seen from the folder given, and what was left out.

    Raises:
        DataError: an input is missing or holds no such file.
    """
    files: dict[Path, Path] = {}
    skipped: list[Skipped] = []
    for given in inputs:
        found = discover(given, source)
        skipped += found.skipped
        base = base_folder(given)
        for path in found.files:
            files.setdefault(path, path.relative_to(base))
    return files, skipped
