"""What a worker does: the files of one shard, one after the other, through the codec into Parquet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from anycodec import __version__
from anycodec.bitstream.segment import SegmentData, values_shape
from anycodec.bitstream.shard_schema import Row, ShardHeader
from anycodec.bitstream.shard_writer import ShardWriter
from anycodec.config.run import RunSpec, window_shape
from anycodec.errors import DataError
from anycodec.io.formats import open_file
from anycodec.types import SignalInfo, Skipped
from anycodec.workflows.compress import codec_entry, segments
from anycodec.workflows.pipeline import Pipeline, Streams
from anycodec.workflows.shards.executor import Progress, Report, Work
from anycodec.workflows.shards.manifest import COUNTS, ShardRecord
from anycodec.workflows.shards.plan import SourceFile, Task, shard_name

_REPORT_EVERY = 2**20
"""Samples of a file between reports."""


@dataclass(frozen=True, slots=True)
class TokenizeJob:
    """What all tasks of a token set have in common.

    Attributes:
        run: the run directory.
        device: auto, cpu or cuda.
        header: see `ShardHeader`.
        plan: fingerprint of the plan.
        out: folder of the shards.
    """

    run: Path
    device: str
    header: ShardHeader
    plan: str
    out: Path

    def open(self) -> Work:
        """Load the codec."""
        pipeline = Pipeline.open(self.run, self.device)
        return lambda task, report: write_shard(self, pipeline, task, report)

    def clear(self, shard: int) -> None:
        """Remove unfinished files of a shard."""
        clear(self.out, Path(shard_name(shard)).stem)


def clear(folder: Path, stem: str = "*") -> None:
    """Remove what killed workers have left behind: temporary files of `anycodec.atomic`."""
    for path in folder.glob(f".{stem}.*.tmp*"):
        with suppress(FileNotFoundError):
            path.unlink()


class _Again(Exception):
    """A file failed after some of its rows were written: the shard must start again without it."""

    def __init__(self, source: str, reason: str) -> None:
        self.barred = {source: reason}


@dataclass(slots=True)
class _Counts:
    """What `ShardRecord` counts."""

    files: int = 0
    signals: int = 0
    rows: int = 0
    samples: int = 0
    tokens: int = 0
    source_bytes: int = 0

    def add_row(self, row: Row) -> None:
        self.signals += row.segment == 0
        self.rows += 1
        self.samples += values_of(row)
        self.tokens += sum(grid.size for grid in row.data.tokens.grids)

    def add(self, other: _Counts) -> None:
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class _Reporter:
    """Tells of a file, not too often."""

    def __init__(self, report: Report, shard: int, file: SourceFile) -> None:
        self._report = report
        self._file = file
        self._place = shard, file.source
        self._samples = 0
        report(Progress(*self._place))

    def coded(self, samples: int) -> None:
        self._samples += samples
        if self._samples >= _REPORT_EVERY:
            self._report(Progress(*self._place, samples=self._samples))
            self._samples = 0

    def done(self) -> None:
        self._report(Progress(*self._place, samples=self._samples, done=self._file.size, files=1))


def write_shard(job: TokenizeJob, pipeline: Pipeline, task: Task, report: Report) -> ShardRecord:
    """Write a shard; files that can't be read are left out and named in its record.

    Raises:
        ResourceError: the disk is full.
    """
    while True:
        try:
            return _write_shard(job, pipeline, task, report)
        except _Again as again:
            task = replace(task, barred={**task.barred, **again.barred})


def _write_shard(job: TokenizeJob, pipeline: Pipeline, task: Task, report: Report) -> ShardRecord:
    path = job.out / shard_name(task.number)
    total, skipped = _Counts(), []
    with ShardWriter(path, job.header) as writer:
        for file in task.files:
            reporter = _Reporter(report, task.number, file)
            try:
                if file.source in task.barred:
                    raise DataError(task.barred[file.source])
                total.add(_add_file(pipeline, writer, file, reporter))
            except DataError as error:
                skipped.append(Skipped(file.source, error.what))
            reporter.done()
        counts = {"shard": task.number, "plan": job.plan, **asdict(total)}
        writer.record = {**counts, "skipped": [asdict(item) for item in skipped]}
    return ShardRecord(
        **counts,
        skipped=tuple(skipped),
        name=path.name,
        size=path.stat().st_size,
        sha256=writer.sha256,
    )


def _add_file(pipeline: Pipeline, writer: ShardWriter, file: SourceFile, reporter: _Reporter) -> _Counts:
    """Write the rows of a file.

    Raises:
        DataError: it can't be read; none of its rows are in the shard.
        _Again: it can't be read, and some of its rows can't be taken back.
    """
    counts = _Counts(files=1, source_bytes=file.size)
    groups = writer.groups
    try:
        for row in _blamed(file_rows(pipeline, file)):
            writer.add(row)
            counts.add_row(row)
            reporter.coded(values_of(row))
    except DataError as error:
        if writer.groups > groups:
            raise _Again(file.source, error.what) from error
        writer.take_back(file.source)
        raise
    return counts


def _blamed(rows: Iterator[Row]) -> Iterator[Row]:
    """What the system refuses while a file is read is the file's fault."""
    try:
        yield from rows
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror or error}") from error


def values_of(row: Row) -> int:
    """Scalar values of a segment."""
    return math.prod(values_shape(row.info, row.data.length))


def file_rows(pipeline: Pipeline, file: SourceFile) -> Iterator[Row]:
    """The segments of a native file, one in memory at a time.

    Raises:
        DataError: unreadable, or not what the codec was trained for.
    """
    with open_file(file.path, pipeline.source) as reader:
        streams = Streams(pipeline)
        described = replace(reader.info, path=file.path.name)
        info: SignalInfo | None = None
        signal, segment = -1, 0
        for part in segments(reader, pipeline):
            if part.info != info:
                info, signal, segment = part.info, signal + 1, 0
            coded = pipeline.encode(part, streams.of(info))
            data = SegmentData(
                start=part.start, length=part.length, tokens=coded.tokens, affine=coded.affine,
                mask=part.mask, attachments=part.attachments,
            )  # fmt: skip
            yield Row(
                source=file.source, file=described, signal=signal, info=info, segment=segment, data=data
            )
            segment += 1


def make_header(run: Path, spec: RunSpec, fingerprint: str) -> ShardHeader:
    """What all shards of a token set have in common."""
    size, strides = window_shape(spec.data, spec.codec.axes), spec.codec.token_strides
    config = spec.model_dump(mode="json")
    for key in ("root", "split", "exclude"):
        config["data"].pop(key, None)
    return ShardHeader(
        program=f"anycodec {__version__}",
        codebook_sizes=spec.codec.codebook_sizes,
        grids=tuple(tuple(s // f for s, f in zip(size, one, strict=True)) for one in strides),
        strides=strides,
        codec=codec_entry(run, spec, fingerprint),
        config=config,
    )
