"""The formats, by name and by file suffix. Their modules are imported when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from anycodec.config.data import ArraySource, ImageSource, Pod5Source, SourceSpec, TableSource, VideoSource
from anycodec.errors import DataError
from anycodec.io.base import Format, Reader
from anycodec.io.discover import base_folder
from anycodec.io.fetched import copy_of, local_copy
from anycodec.types import FileInfo, Signal
from anycodec.urls import url_of

_CLASSES = {
    "pod5": "Pod5Format",
    "table": "TableFormat",
    "array": "ArrayFormat",
    "image": "ImageFormat",
    "video": "VideoFormat",
}
"""Format class of each module in `anycodec.io`."""

_SOURCES: dict[str, type[SourceSpec]] = {
    "pod5": Pod5Source,
    "table": TableSource,
    "array": ArraySource,
    "image": ImageSource,
    "video": VideoSource,
}


def format_names() -> tuple[str, ...]:
    """Names of all formats."""
    return tuple(_CLASSES)


@cache
def get_format(name: str) -> Format[Any]:
    """The format called `name` (`data.type`).

    Raises:
        DataError: there is none of this name.
    """
    if name not in _CLASSES:
        raise DataError(f"unknown format {name!r}", how=f"one of {', '.join(_CLASSES)}")
    module = importlib.import_module(f"anycodec.io.{name}")
    found: Format[Any] = getattr(module, _CLASSES[name])()
    return found


def format_for(path: str | Path) -> str:
    """Name of the format that reads files with this suffix.

    Raises:
        DataError: no format does.
    """
    lower = Path(path).name.lower()
    for name in _CLASSES:
        if lower.endswith(get_format(name).suffixes):
            return name
    known = " ".join(suffix for name in _CLASSES for suffix in get_format(name).suffixes)
    raise DataError("unknown kind of file", where=str(path), how=f"known suffixes: {known}")


def default_source(name: str) -> SourceSpec:
    """Settings to read a file of this format with, where no configuration says otherwise."""
    return _SOURCES[name]()


def open_file(path: Path, source: SourceSpec) -> Reader:
    """Open a file, here or behind a URL, with the settings of its source. Module-level: it can be pickled.

    Raises:
        DataError: missing, empty, truncated, foreign, or at odds with `source`.
        MissingExtra: the library for this format is not installed.
    """
    name: str = source.type  # type: ignore[attr-defined]
    if url_of(path) is not None and source.root is not None:
        source = source.model_copy(update={"root": copy_of(base_folder(source.root))})
    return get_format(name).open(local_copy(path, source.cache_limit_gb), source)


def probe(path: Path, source: SourceSpec) -> FileInfo:
    """What is known of a file without reading its values.

    Raises:
        DataError: see `open_file`.
    """
    with open_file(path, source) as reader:
        return reader.info


def read(path: Path, source: SourceSpec, block: int) -> Iterator[Signal]:
    """Stream a file in order, at most `block` samples or frames a segment.

    Raises:
        DataError: see `open_file`.
    """
    with open_file(path, source) as reader:
        yield from reader.segments(block)


def write(path: Path, info: FileInfo, segments: Iterable[Signal]) -> None:
    """Write a native file of the format that `info` names, atomically.

    Raises:
        ResourceError: the disk is full.
    """
    get_format(info.format).write(path, info, segments)
