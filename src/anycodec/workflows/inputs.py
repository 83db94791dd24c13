"""The files that a user names: folders, single files, patterns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from anycodec.config.data import SourceSpec
from anycodec.errors import UserError
from anycodec.io.discover import base_folder, discover
from anycodec.io.fetched import local_copy
from anycodec.types import Skipped
from anycodec.urls import url_of


def refuse_urls(inputs: Iterable[Path], what: str) -> None:
    """Refuse to write beside files behind URLs.

    Raises:
        UserError: one of the inputs is one.
    """
    for given in inputs:
        if url_of(given) is not None:
            raise UserError(
                f"{what} can't be written there", where=url_of(given), how="give a folder with -o"
            )


def find_files(
    inputs: Iterable[Path], source: SourceSpec, *, fetch: bool = True
) -> tuple[dict[Path, Path], list[Skipped]]:
    """The files of a format, each with its path as seen from the folder given, and what was left out.

    Args:
        inputs: folders, files, patterns or URLs.
        source: settings of the format.
        fetch: whether to have local copies of files behind URLs now; else whoever opens one does.

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
            here = local_copy(path, source.cache_limit_gb) if fetch else path
            files.setdefault(here, path.relative_to(base))
    return files, skipped
