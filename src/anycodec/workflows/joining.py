"""Several native files as one: reads after reads, rows after rows, pictures beside each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anycodec.bitstream.container import AczWriter, Bound
from anycodec.errors import DataError
from anycodec.io.base import Format
from anycodec.io.formats import get_format
from anycodec.types import FileInfo, Signal, SignalInfo, Skipped
from anycodec.workflows.compress import check_targets, make_header, report, segments, write_signals
from anycodec.workflows.inputs import find_files
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.progress import track


def compress_joined(pipeline: Pipeline, inputs: list[Path], out: Path, bound: Bound | None) -> int:
    """Compress all files into one; those that can't be read are named and left out.

    Returns:
        0, or 2 where a file was left out.

    Raises:
        DataError: files that can't be one, that hold the same signal, or turn out to be damaged.
        UserError: `out` exists already.
        ResourceError: the disk is full.
    """
    files, skipped = find_files(inputs, pipeline.given_files)
    joined = _described(pipeline, files, skipped)
    if joined.parts:
        check_targets([(joined.parts[0].path, out)])
        out.parent.mkdir(parents=True, exist_ok=True)
        file = joined.file
        if len(joined.parts) > 1:
            file = replace(file, path=out.stem + Path(file.path).suffix)
        with AczWriter(out, make_header(pipeline, file, bound), pipeline.coder) as writer:
            signals = track(joined.segments(), file.n_signals, "compressing")
            write_signals(writer, pipeline, signals, file, bound)
    report([(part.path, out) for part in joined.parts], skipped)
    return 2 if skipped else 0


def _described(pipeline: Pipeline, files: Mapping[Path, Path], skipped: list[Skipped]) -> Joined:
    """The files that can be read, as one."""
    joined = Joined(pipeline)
    for path, inside in files.items():
        try:
            part = joined.describe(path, inside)
        except DataError as error:
            skipped.append(Skipped(str(path), error.what))
        else:
            joined.add(part)
    return joined


@dataclass(frozen=True, slots=True)
class Joining:
    """A native file that is to be one of several.

    Attributes:
        path: where it is.
        info: as a file holds it; its `path` is its name beside the others.
        length: samples, frames or pictures of all its signals.
    """

    path: Path
    info: FileInfo
    length: int


class Joined:
    """Native files in the order in which they are added, after what a file holds already.

    Args:
        pipeline: the run.
        file: what they follow; None = nothing.
        length: samples, frames or pictures of that.

    Attributes:
        parts: what was added.
    """

    def __init__(self, pipeline: Pipeline, file: FileInfo | None = None, length: int = 0) -> None:
        self._pipeline = pipeline
        self._format: Format[Any] = get_format(pipeline.source.type if file is None else file.format)
        self._file = file
        self._before, self._follows = length, file is not None
        self._names: set[str] = set()
        self.parts: list[Joining] = []

    @property
    def file(self) -> FileInfo:
        """The file that holds them all."""
        if self._file is None:
            raise ValueError("nothing was added")
        return self._file

    @property
    def length(self) -> int:
        """Samples, frames or pictures of them all."""
        return self._before + sum(part.length for part in self.parts)

    def describe(self, path: Path, inside: Path) -> Joining:
        """A native file that is called `inside` beside the others.

        Raises:
            DataError: it can't be read.
        """
        with self._format.open(path, self._pipeline.source) as native:
            info = native.info
            length = sum(signal.length for signal in native.signals())
        meta = json.loads(json.dumps(info.meta))
        return Joining(path, replace(info, path=inside.as_posix(), meta=meta), length)

    def add(self, part: Joining) -> None:
        """Let a file follow the others.

        Raises:
            DataError: they can't be one.
        """
        self._file = part.info if self._file is None else self._format.join(self._file, part.info)
        self.parts.append(part)

    def described(self, info: SignalInfo, before: FileInfo) -> SignalInfo:
        """A signal of the file that they follow, as it will be: longer, where they go on where it ends."""
        if self._format.goes_on(self.file):
            return replace(info, shape=(self.length, *info.shape[1:]))
        info = self._format.placed(info, self.file, before)
        self._names.add(info.id)
        return info

    def segments(self, last: SignalInfo | None = None) -> Iterator[Signal]:
        """Segments of all that was added, in order.

        Args:
            last: the signal that they follow, as `described` gave it.

        Raises:
            DataError: one can't be read, or holds a signal that is there already.
        """
        position, several = self._before, self._follows or len(self.parts) > 1
        for part in self.parts:
            for signal in self._native(part):
                if not several:
                    yield signal
                elif self._format.goes_on(self.file):
                    last = last or replace(signal.info, shape=(self.length, *signal.info.shape[1:]))
                    yield replace(signal, info=last, start=position + signal.start)
                else:
                    yield self._placed(signal, part)
            position += part.length

    def _native(self, part: Joining) -> Iterator[Signal]:
        with self._format.open(part.path, self._pipeline.source) as native:
            yield from segments(native, self._pipeline)

    def _placed(self, signal: Signal, part: Joining) -> Signal:
        """A segment of a file as one of them all."""
        meta = json.loads(json.dumps(signal.info.meta))
        info = self._format.placed(replace(signal.info, meta=meta), self.file, part.info)
        if signal.start == 0 and info.id in self._names:
            raise DataError(
                f"{info.id} is in the file already; nothing was written",
                where=str(part.path),
                how="leave the file out, or give the folder that holds both: sub-folders are named",
            )
        self._names.add(info.id)
        return replace(signal, info=info)
