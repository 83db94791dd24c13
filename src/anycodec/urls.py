"""Paths that are URLs: `s3://bucket/reads` travels as the `Path` `s3:/bucket/reads`."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.DOTALL)
_CREDENTIALS = re.compile(r"[a-z][a-z0-9+.-]+:/+[^/]*:[^/]*@")
_LOCAL = "file"


def url_of(path: Path | str) -> str | None:
    """The URL that a path means, None for a path on this machine.

    A scheme has two letters or more: `C:/` is a drive.
    """
    found = _URL.fullmatch(str(path))
    if not found:
        return None
    scheme, rest = found.groups()
    return f"{scheme}:///{rest}" if scheme == _LOCAL else f"{scheme}://{rest}"


def has_credentials(url: str) -> bool:
    """Whether a URL holds a name and a password."""
    return _CREDENTIALS.match(url) is not None


def inside(path: Path) -> PurePosixPath:
    """A URL's place in a folder for copies: scheme, host or bucket, and the path there."""
    url = url_of(path)
    assert url is not None
    scheme, _, rest = url.partition("://")
    parts = [part for part in PurePosixPath(rest).parts if part not in ("/", "..", ".")]
    return PurePosixPath(scheme, *parts)
