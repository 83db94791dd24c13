"""`anycodec append`: more files into an `.acz` file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from anycodec.bitstream.container import AczReader, AczWriter
from anycodec.bitstream.parts import Choice
from anycodec.errors import DataError
from anycodec.types import SignalInfo
from anycodec.workflows.compress import write_signals
from anycodec.workflows.console import out as console
from anycodec.workflows.decompress import pipeline_of
from anycodec.workflows.inputs import find_files
from anycodec.workflows.joining import Joined
from anycodec.workflows.levels import for_file
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.progress import track


def run(target: Path, inputs: list[Path], run: Path | None, device: str, prior: Path | None = None) -> int:
    """Add the signals of more native files, with the codec, the prior and the bound of the file.

    Reads become more reads, pictures more pictures. Rows of a table follow those that are there. All or
    nothing: what was coded is copied to a new file, which takes the place of the old one when it is complete.

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
        pipeline = for_file(pipeline, reader.header)
        joined = Joined(pipeline, reader.header.file, _length(reader))
        for path, inside in found.items():
            joined.add(joined.describe(path, inside))
        _write(target, reader, joined, pipeline)
    after = target.stat().st_size
    console.print(f"{target}: {len(found)} files added, {before:,} -> {after:,} bytes", markup=False)
    return 0


def _length(reader: AczReader) -> int:
    """Samples, frames or pictures of all signals."""
    return sum(part.length for part in reader.choose(Choice()).parts)


def _write(target: Path, reader: AczReader, joined: Joined, pipeline: Pipeline) -> None:
    """Write the new file in the place of the old one."""
    header, before = reader.header, reader.header.file
    last: list[SignalInfo] = []

    def described(info: SignalInfo) -> SignalInfo:
        last[:] = [joined.described(info, before)]
        return last[0]

    new = replace(header, file=joined.file)
    added = sum(part.info.n_signals for part in joined.parts)
    with AczWriter(target, new, pipeline.coder, version=reader.version) as writer:
        writer.copy(reader, described)
        signals = track(joined.segments(last[0] if last else None), added, "adding")
        write_signals(writer, pipeline, signals, joined.file, header.bound)
