"""The files of a run as they are at a moment, while training goes on.

They are only opened. Every file of a run is replaced as a whole or grows at its end, so that an open file
and its size stay what they were.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from anycodec.checkpoint import RunDirectory

_CHUNK = 1 << 20
Version = tuple[int, int, int]
"""Equal for equal contents: inode, time and size."""


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file as it was.

    Attributes:
        name: relative to the run.
        content: the open file.
        version: tells contents apart.
    """

    name: str
    content: BinaryIO
    version: Version

    def write_to(self, path: Path) -> None:
        """Its bytes of that moment."""
        left = self.version[2]
        self.content.seek(0)
        with path.open("wb") as out:
            while left and (chunk := self.content.read(min(left, _CHUNK))):
                out.write(chunk)
                left -= len(chunk)


class CheckpointFiles:
    """What continuing and compressing need of a run, held open.

    Attributes:
        files: in the order that they must be copied in: see `paths`.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.files: list[HeldFile] = []
        for path in paths(run):
            content = path.open("rb")
            status = os.fstat(content.fileno())
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            self.files.append(HeldFile(path.relative_to(run.path).as_posix(), content, version))

    def close(self) -> None:
        for file in self.files:
            file.content.close()


def paths(run: RunDirectory) -> Iterator[Path]:
    """The files of a run in the order of their copying.

    The state to resume from comes after what belongs to it: a copy that dies between two files leaves an
    earlier state beside later weights, and a training that goes on from it writes those again. The
    configuration, which makes a folder a run, is last.
    """
    texts = (run.manifest, run.metrics, run.log)
    yield from (path for path in texts if path.is_file())
    yield from sorted(path for path in run.path.glob("*.safetensors") if not path.name.startswith("."))
    for folder in (run.path / "best", run.resume):
        yield from (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith("."))
    yield run.config
