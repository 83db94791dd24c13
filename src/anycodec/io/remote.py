"""Files behind URLs, by fsspec: listed, described, read in pieces.

Credentials come from where the library of a protocol looks for them (environment, files in the home folder,
fsspec's own `FSSPEC_S3_...`), never from a configuration.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from anycodec.errors import DataError, MissingExtra, UserError
from anycodec.urls import url_of

T = TypeVar("T")

ATTEMPTS = 5
"""Of a request that the network fails."""
FIRST_PAUSE = 0.5
"""Seconds before the second attempt; doubled each time."""
_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub", "az": "adlfs",
    "abfs": "adlfs", "http": "aiohttp", "https": "aiohttp", "sftp": "paramiko", "ssh": "paramiko",
}  # fmt: skip
_NO_CREDENTIALS = re.compile(r"credential|access ?denied|forbidden|unauthorized|\b40[13]\b|signature", re.I)
_VERSIONS = ("ETag", "etag", "md5Hash", "md5", "blob_id", "LastModified", "last_modified", "mtime", "created")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file behind a URL.

    Attributes:
        path: its URL, as `anycodec.urls` writes it.
        size: bytes.
        version: what changes when its content does.
    """

    path: Path
    size: int
    version: str


def listed(root: Path) -> list[RemoteFile]:
    """The files at or below a URL, or that match one with wildcards.

    Raises:
        DataError: there is nothing, or it can't be reached.
        MissingExtra: the library of the protocol is not installed.
    """
    url = _url(root)
    system, inside = _system(url)
    with _explained(url):
        if "*" in url or "?" in url or "[" in url:
            found = _patiently(lambda: system.glob(inside, detail=True))
        else:
            found = _patiently(lambda: system.find(inside, detail=True))
    files = [_described(root, name, info) for name, info in found.items() if info["type"] == "file"]
    if not files:
        raise DataError("nothing is there", where=url, how="check data.root")
    for file in files:
        _SIZES[str(file.path)] = file.size
    return files


@lru_cache(maxsize=64)
def is_file(path: Path) -> bool:
    """Whether a URL is that of a single file.

    Raises:
        DataError: it can't be reached.
    """
    url = _url(path)
    system, inside = _system(url)
    with _explained(url):
        found: bool = _patiently(lambda: system.isfile(inside))
    return found


def described(path: Path) -> RemoteFile:
    """A file as it is now.

    Raises:
        DataError: it is gone, or can't be reached.
    """
    url = _url(path)
    system, inside = _system(url)
    with _explained(url):
        system.invalidate_cache()
        info = _patiently(lambda: system.info(inside))
    if info.get("size") is None:
        raise DataError("the server does not say how large the file is", where=url)
    return RemoteFile(path, int(info["size"]), _version(info))


def piece(path: Path, start: int, stop: int) -> bytes:
    """Bytes [start, stop) of a file.

    Raises:
        DataError: it can't be read, or ends before.
    """
    url = _url(path)
    system, inside = _system(url)

    def read() -> bytes:
        found: bytes = system.cat_file(inside, start=start, end=stop)
        if len(found) != stop - start:
            raise OSError(f"{len(found)} bytes came instead of {stop - start}")
        return found

    with _explained(url):
        return _patiently(read)


def size_of(path: Path | str) -> int:
    """Bytes of a file, here or behind a URL.

    Raises:
        DataError: it can't be reached.
    """
    if url_of(path) is None:
        return Path(path).stat().st_size
    if str(path) not in _SIZES:
        _SIZES[str(path)] = described(Path(path)).size
    return _SIZES[str(path)]


_SIZES: dict[str, int] = {}
"""Of the files that were listed."""


def _url(path: Path) -> str:
    url = url_of(path)
    assert url is not None
    return url


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    import fsspec

    scheme = url.partition("://")[0]
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = _PACKAGES.get(scheme)
        raise UserError(
            f"{scheme}:// needs a library that is not installed",
            where=url,
            how=f"pip install {package}" if package else str(error),
        ) from error
    except ValueError as error:
        if "not known" not in str(error):
            raise
        known = "file, s3, gs, hf, az, http, https, sftp"
        raise DataError(f"unknown protocol {scheme}://", where=url, how=f"use one of {known}") from error
    return found


def _described(root: Path, name: str, info: dict[str, Any]) -> RemoteFile:
    """What a listing says of a file."""
    url = _url(root)
    scheme = url.partition("://")[0]
    full = name if "://" in name else f"{scheme}://{name}"
    return RemoteFile(Path(full), int(info.get("size") or 0), _version(info))


def _version(info: dict[str, Any]) -> str:
    return next((f"{key}={info[key]}" for key in _VERSIONS if info.get(key)), "")


def _patiently(request: Callable[[], T]) -> T:
    """A request, again where the network failed it."""
    pause = FIRST_PAUSE
    for _ in range(ATTEMPTS - 1):
        try:
            return request()
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            raise
        except Exception as error:
            if _NO_CREDENTIALS.search(f"{type(error).__name__} {error}"):
                raise
            time.sleep(pause)
            pause *= 2
    return request()


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what a library of a protocol raises into what a user can mend."""
    try:
        yield
    except (DataError, MissingExtra):
        raise
    except (FileNotFoundError, IsADirectoryError) as error:
        raise DataError("there is no such file", where=url, how="check the URL") from error
    except Exception as error:  # every protocol has errors of its own
        detail = (str(error) or type(error).__name__).splitlines()[0]
        if isinstance(error, PermissionError) or _NO_CREDENTIALS.search(f"{type(error).__name__} {detail}"):
            raise DataError(
                f"no access: {detail}",
                where=url,
                how="give credentials as the protocol's library wants them: AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (s3), GOOGLE_APPLICATION_CREDENTIALS (gs), HF_TOKEN "
                "(hf); FSSPEC_S3_ANON=true for public buckets",
            ) from error
        raise DataError(
            f"it can't be read after {ATTEMPTS} attempts: {detail}", where=url, how="check the network"
        ) from error
