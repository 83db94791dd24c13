"""`anycodec append`: more files into an `.acz` file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from anycodec.bitstream.container import AczReader, AczWriter
from anycodec.bitstream.parts import Choice
from anycodec.errors import DataError
from anycodec.io.base import Format
from anycodec.io.formats import get_format
from anycodec.types import FileInfo, Signal, SignalInfo
from anycodec.workflows.compress import segments, write_segment
from anycodec.workflows.console import out as console
from anycodec.workflows.decompress import pipeline_of
from anycodec.workflows.inputs import find_files
from anycodec.workflows.levels import for_file
from anycodec.workflows.pipeline import Pipeline, Streams
from anycodec.workflows.progress import track
from anycodec.workflows.within_bound import BoundedEncoder


def run(target: Path, inputs: list[Path], run: Path | None, device: str, prior: Path | None = None) -> int:
    """Add the signals of more native files, with the codec, the prior and the bound of the file.

    Reads become more reads. Rows of a table follow those that are there. All or nothing: what was coded is
    copied to a new file, which takes the place of the old one when it is complete.

    Returns:
        0.

    Raises:
        FormatError: the file is damaged, or of another codec.
        DataError: a file that can't be read, does not fit, or holds a signal that is there already.
        ResourceError: the disk is full.
    """
    with AczReader(target) as reader:
        pipeline = pipeline_of(target, run, device, prior=prior)
        reader.require_codec(pipeline.fingerprint)
        found, skipped = find_files(inputs, pipeline.given_files)
        if skipped:
            raise DataError(skipped[0].reason, where=skipped[0].path, how="nothing was added: leave it out")
        before = reader.size
        Appending(reader, pipeline, list(found)).write(target)
    after = target.stat().st_size
    console.print(f"{target}: {len(found)} files added, {before:,} -> {after:,} bytes", markup=False)
    return 0


class Appending:
    """A file and those that are to follow in it.

    Args:
        reader: the file.
        pipeline: the run that wrote it.
        sources: native files.

    Raises:
        DataError: they can't be one file.
    """

    def __init__(self, reader: AczReader, pipeline: Pipeline, sources: list[Path]) -> None:
        self._reader, self._pipeline, self._sources = reader, for_file(pipeline, reader.header), sources
        self._format: Format[Any] = get_format(reader.header.file.format)
        self._file = reader.header.file
        self._others: list[FileInfo] = []
        self._lengths: list[int] = []
        for source in sources:
            with self._format.open(source, pipeline.source) as native:
                info = _through_json(native.info)
                self._lengths.append(sum(signal.length for signal in native.signals()))
            self._file = self._format.join(self._file, info)
            self._others.append(info)
        self._length = sum(part.length for part in reader.choose(Choice()).parts)
        self._names: set[str] = set()
        self._first: SignalInfo | None = None

    def write(self, target: Path) -> None:
        """Write the new file in the place of the old one."""
        header = replace(self._reader.header, file=self._file)
        version = self._reader.version
        with AczWriter(target, header, self._pipeline.coder, version=version) as writer:
            writer.copy(self._reader, self._described)
            bound = header.bound
            encoder = None if bound is None else BoundedEncoder(self._pipeline, writer, self._file, bound)
            streams = Streams(self._pipeline)
            for signal in track(self._signals(), sum(info.n_signals for info in self._others), "adding"):
                if encoder is not None:
                    encoder.add(signal)
                else:
                    write_segment(writer, self._pipeline, signal, streams.of(signal.info))

    def _described(self, info: SignalInfo) -> SignalInfo:
        """A signal of the file as it will be: longer, where the others go on where it ends."""
        self._names.add(info.id)
        if self._format.goes_on(self._file):
            info = replace(info, shape=(self._length + sum(self._lengths), *info.shape[1:]))
            self._first = info
        return info

    def _signals(self) -> Iterator[Signal]:
        """Segments of the other files."""
        position = self._length
        for source, other, length in zip(self._sources, self._others, self._lengths, strict=True):
            with self._format.open(source, self._pipeline.source) as native:
                for signal in segments(native, self._pipeline):
                    if self._first is not None:
                        yield replace(signal, info=self._first, start=position + signal.start)
                    else:
                        self._check(signal, source)
                        info = self._format.placed(_meta_through_json(signal.info), self._file, other)
                        yield replace(signal, info=info)
            position += length

    def _check(self, signal: Signal, source: Path) -> None:
        if signal.start == 0 and signal.info.id in self._names:
            raise DataError(
                f"{signal.info.id} is in the file already; nothing was added",
                where=str(source),
                how="leave the file out",
            )
        self._names.add(signal.info.id)


def _through_json(info: FileInfo) -> FileInfo:
    """A description as a file holds it."""
    return replace(info, path=Path(info.path).name, meta=json.loads(json.dumps(info.meta)))


def _meta_through_json(info: SignalInfo) -> SignalInfo:
    return replace(info, meta=json.loads(json.dumps(info.meta)))
