"""Which file goes into which shard: a pure function of the sorted files and their sizes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anycodec.bitstream.shard_schema import SUFFIX
from anycodec.errors import UserError
from anycodec.io.remote import size_of

MOST_FILES = 10_000
"""Files a shard at most."""
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A native file.

    Attributes:
        path: where it is.
        source: its path below the folder that was given, with `/`.
        size: bytes.
    """

    path: Path
    source: str
    size: int


@dataclass(frozen=True, slots=True)
class Task:
    """A shard to write.

    Attributes:
        number: of the shard, from 0.
        files: what goes into it, in order.
        barred: files that must not be opened again, with the reason, by `source`.
    """

    number: int
    files: tuple[SourceFile, ...]
    barred: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.files)


def shard_name(number: int) -> str:
    """File name of a shard; its names sort in the order of the shards."""
    return f"shard-{number:06d}{SUFFIX}"


def list_sources(files: Mapping[Path, Path]) -> list[SourceFile]:
    """The files with their sizes.

    Args:
        files: each with its path as seen from the folder given.

    Raises:
        UserError: two files have the same path there.
    """
    found: dict[str, SourceFile] = {}
    for path, inside in files.items():
        source = inside.as_posix()
        if source in found:
            raise UserError(
                f"{found[source].path} and {path} would both be called {source}",
                where=str(path),
                how="give the folder that holds both, or tokenize into two folders",
            )
        found[source] = SourceFile(path, source, size_of(path))
    return list(found.values())


def plan_tasks(files: Iterable[SourceFile], shard_size: int) -> list[Task]:
    """Files in order, a new shard where the next one would exceed `shard_size` bytes of native files."""
    groups: list[list[SourceFile]] = []
    room = 0
    for file in files:
        if not groups or file.size > room or len(groups[-1]) == MOST_FILES:
            groups.append([])
            room = shard_size
        groups[-1].append(file)
        room -= file.size
    return [Task(number, tuple(group)) for number, group in enumerate(groups)]


def fingerprint(tasks: Sequence[Task]) -> str:
    """SHA-256 of what goes into which shard, whatever folder it is in."""
    digest = hashlib.sha256()
    for task in tasks:
        content = [task.number, [[file.source, file.size] for file in task.files]]
        digest.update(json.dumps(content).encode())
    return digest.hexdigest()


def parse_size(text: str) -> int:
    """Bytes of "64KB", "256MB", "2 GiB": powers of 1024.

    Raises:
        UserError: something else.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if size < 1:
        raise UserError(f"{text!r} is not a size", where="--shard-size", how="for example 256MB or 2GB")
    return size
