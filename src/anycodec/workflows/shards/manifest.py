"""The manifest of a token set, `_manifest.jsonl`: a line a shard, after one that says what the set is.

While a job runs, lines are appended in the order in which shards end; at its end the file is written
again in the order of the shards, with a last line that says so. A shard that was finished without
its line, because the job was killed in between, says itself what it holds.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anycodec.atomic import atomic_write
from anycodec.bitstream import jsons
from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.shard_reader import ShardReader
from anycodec.errors import FormatError, UserError
from anycodec.types import Skipped

NAME = "_manifest.jsonl"
"""Readers of a folder of Parquet files pass over what begins with an underscore."""
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """What a finished shard holds.

    Attributes:
        shard: its number.
        name: its file name.
        size: bytes.
        sha256: of the file.
        plan: fingerprint of the plan it belongs to.
        files: native files in it.
        signals: signals in it.
        rows: segments in it.
        samples: scalar values (samples, pixels x channels) that its tokens stand for.
        tokens: tokens in it, all levels together.
        source_bytes: size of the native files in it.
        skipped: files that were left out, and why.
    """

    shard: int
    name: str
    size: int
    sha256: str
    plan: str
    files: int = 0
    signals: int = 0
    rows: int = 0
    samples: int = 0
    tokens: int = 0
    source_bytes: int = 0
    skipped: tuple[Skipped, ...] = ()


COUNTS = ("files", "signals", "rows", "samples", "tokens", "source_bytes")
"""What the shards of a set add up to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetInfo:
    """What a token set is.

    Attributes:
        fingerprint: of the codec.
        run: where the codec was.
        plan: fingerprint of the plan.
        shards: how many there will be.
        files: native files in the plan.
        skipped: files that were left out before any was opened, and why.
    """

    fingerprint: str
    run: str
    plan: str
    shards: int
    files: int
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `_manifest.jsonl` says.

    Attributes:
        info: see `SetInfo`.
        records: finished shards by number.
        finished: whether the job came to its end.
    """

    info: SetInfo
    records: Mapping[int, ShardRecord]
    finished: bool

    def totals(self) -> dict[str, int]:
        """Sums over the shards, see `COUNTS`."""
        return {name: sum(getattr(record, name) for record in self.records.values()) for name in COUNTS}

    @property
    def skipped(self) -> list[Skipped]:
        """All files that were left out, in order."""
        shards = [item for number in sorted(self.records) for item in self.records[number].skipped]
        return [*self.info.skipped, *shards]


def write(folder: Path, info: SetInfo, records: Iterable[ShardRecord], *, finished: bool) -> Manifest:
    """Write the whole manifest, in the order of the shards."""
    ordered = {record.shard: record for record in sorted(records, key=lambda record: record.shard)}
    manifest = Manifest(info, ordered, finished)
    lines = [{"version": VERSION, **asdict(info)}, *map(asdict, ordered.values())]
    if finished:
        lines.append({"finished": True, **manifest.totals()})
    atomic_write(folder / NAME, "".join(map(_line, lines)))
    return manifest


def append(folder: Path, record: ShardRecord) -> None:
    """Note a finished shard; survives a crash of the machine."""
    with (folder / NAME).open("a", encoding="utf-8") as file:
        file.write(_line(asdict(record)))
        file.flush()
        os.fsync(file.fileno())


def adopt(shard: Path) -> ShardRecord:
    """The record of a finished shard that has no line in the manifest.

    Raises:
        FormatError: it is damaged.
    """
    with ShardReader(shard) as reader:
        try:
            with shard.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            found = {"name": shard.name, "size": shard.stat().st_size, "sha256": sha256}
            return _record({**reader.record, **found})
        except Damaged as error:
            raise FormatError(f"damaged shard: {error}", where=str(shard)) from error


def read(folder: Path) -> Manifest:
    """The manifest of a folder; a last line that was torn by a crash is passed over.

    Raises:
        FormatError: missing or damaged.
    """
    path = folder / NAME
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError as error:
        what = "there is no such folder" if not folder.is_dir() else f"not a token set (it has no {NAME})"
        raise FormatError(what, where=str(folder), how="give the folder that tokenize wrote") from error
    records: dict[int, ShardRecord] = {}
    finished = False
    for number, line in enumerate(lines[:-1]):  # what follows the last newline is torn, or nothing
        try:
            document = jsons.load(line)
            if number == 0:
                info = _info(document)
            elif "finished" in document:
                finished = True
            else:
                record = _record(document)
                records[record.shard] = record
        except Damaged as error:
            raise FormatError(f"damaged manifest: {error}", where=f"{path}:{number + 1}") from error
    if len(lines) < 2:
        raise FormatError("empty manifest", where=str(path))
    return Manifest(info, records, finished)


def check_same(old: SetInfo, new: SetInfo, folder: Path) -> None:
    """Refuse to continue a job as another one.

    Raises:
        UserError: says what differs.
    """
    if old.fingerprint != new.fingerprint:
        what = f"another codec began it: {old.fingerprint[:12]} of {old.run}, this is {new.fingerprint[:12]}"
    elif old.plan != new.plan:
        what = (
            f"it began with other files or another --shard-size: {old.files:,} files in {old.shards:,} "
            f"shards then, {new.files:,} in {new.shards:,} now"
        )
    else:
        return
    raise UserError(what, where=str(folder), how="choose another folder with -o, or remove this one")


def _line(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True) + "\n"


def _info(document: jsons.Json) -> SetInfo:
    version = jsons.get(document, "version", int)
    if version != VERSION:
        raise Damaged(f"version {version} of the manifest; this anycodec reads version {VERSION}")
    return SetInfo(
        fingerprint=jsons.get(document, "fingerprint", str),
        run=jsons.get(document, "run", str),
        plan=jsons.get(document, "plan", str),
        shards=_count(document, "shards"),
        files=_count(document, "files"),
        skipped=_skipped(document),
    )


def _record(document: jsons.Json) -> ShardRecord:
    name = jsons.get(document, "name", str)
    if Path(name).name != name:
        raise Damaged(f"{name[:80]!r} is not the name of a shard")
    return ShardRecord(
        shard=_count(document, "shard"),
        name=name,
        size=_count(document, "size"),
        sha256=jsons.get(document, "sha256", str),
        plan=jsons.get(document, "plan", str),
        **{key: _count(document, key) for key in COUNTS},
        skipped=_skipped(document),
    )


def _count(document: jsons.Json, key: str) -> int:
    value = jsons.get(document, key, int)
    if value < 0:
        raise Damaged(f"`{key}` is {value}")
    return value


def _skipped(document: jsons.Json) -> tuple[Skipped, ...]:
    found = jsons.get(document, "skipped", list)
    if not all(isinstance(item, dict) for item in found):
        raise Damaged("`skipped` is not a list of files")
    return tuple(Skipped(*(jsons.get(item, key, str) for key in ("path", "reason"))) for item in found)
