"""`anycodec decompress`: .acz files -> native files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anycodec.bitstream.container import AczReader, Header, SegmentData
from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.parts import Selection
from anycodec.bitstream.reader import read_header
from anycodec.bitstream.restoration import Mismatch
from anycodec.checkpoint import RunDirectory
from anycodec.config.data import VideoSource
from anycodec.errors import FormatError, RunError
from anycodec.io.base import Format
from anycodec.io.discover import natural_key
from anycodec.io.formats import get_format
from anycodec.types import FileInfo, Signal, SignalInfo, Skipped
from anycodec.workflows.compress import SUFFIX, check_targets
from anycodec.workflows.console import out as console
from anycodec.workflows.levels import for_file
from anycodec.workflows.parts import NothingChosen, Wanted, cut, described, losses
from anycodec.workflows.pipeline import Coded, Pipeline, Streams
from anycodec.workflows.priors import attach
from anycodec.workflows.progress import track
from anycodec.workflows.within_bound import restored_values

EVERYTHING = Wanted()
Segments = Iterable[tuple[SignalInfo, SegmentData]]
_SHOWN = 50
"""Lines about what is lost."""


def run(
    files: list[Path],
    out: Path | None,
    run: Path | None,
    device: str,
    wanted: Wanted = EVERYTHING,
    *,
    prior: Path | None = None,
) -> int:
    """Restore each file, or the parts of it that are wanted, those of a folder with its sub-folders.

    Files of several that can't be restored are named and left out.

    Args:
        files: or folders of them.
        out: folder to write into; None = beside each file.
        run: of the codec; None = where each file says.
        device: auto, cpu or cuda.
        wanted: parts.
        prior: run of the prior; None = where each file says.

    Returns:
        0, or 2 where a file, or a part that was wanted, was left out.

    Raises:
        FormatError: the only file is damaged or of another codec.
        RunError: the run that wrote the only file is not found.
        UserError: an output exists already, or two inputs would become one.
        ResourceError: the disk is full.
    """
    loaded: dict[Path, Pipeline] = {}
    return run_with(files, out, lambda path: pipeline_of(path, run, device, loaded, prior), wanted)


def run_with(
    files: list[Path],
    out: Path | None,
    pipeline_of: Callable[[Path], Pipeline],
    wanted: Wanted = EVERYTHING,
) -> int:
    """Decompress, each file with the loaded run that `pipeline_of` gives; see `run`."""
    found = dict(pair for given in files for pair in find(given))
    skipped: list[Skipped] = []

    def left_out(path: Path, error: FormatError | RunError | NothingChosen) -> None:
        if len(found) == 1:
            raise error
        skipped.append(Skipped(str(path), error.what))

    plan: list[tuple[Path, Path]] = []
    for path, inside in found.items():
        try:
            plan.append((path, target_of(path, None if out is None else out / inside, wanted)))
        except FormatError as error:
            left_out(path, error)
    check_targets(plan)
    lost: list[str] = []
    for path, target in track(plan, len(plan), "decompressing"):
        try:
            missing = decompress_file(path, target, pipeline_of(path), wanted)
        except (FormatError, RunError, NothingChosen) as error:
            left_out(path, error)
        else:
            console.print(f"{path} -> {target}", markup=False)
            lost += [f"{path}: {line}" for line in missing]
    lost += [f"not found: {name}" for name in wanted.not_found()]
    lost += [f"left out: {item.path}: {item.reason}" for item in skipped]
    for line in lost[:_SHOWN]:
        console.print(line, style="yellow", markup=False)
    if len(lost) > _SHOWN:
        console.print(f"... and {len(lost) - _SHOWN:,} more", style="yellow")
    return 2 if lost else 0


def find(given: Path) -> Iterator[tuple[Path, Path]]:
    """The `.acz` files of a folder, or the file itself, and their folders as seen from there.

    Raises:
        FormatError: a folder without such a file.
    """
    if not given.is_dir():
        yield given, Path()
        return
    files = sorted(given.rglob(f"*{SUFFIX}"), key=lambda path: natural_key(path.as_posix()))
    if not files:
        raise FormatError(f"no {SUFFIX} file found", where=str(given), how="check the folder")
    for path in files:
        yield path, path.parent.relative_to(given)


def target_of(path: Path, out: Path | None, wanted: Wanted = EVERYTHING) -> Path:
    """Where a file is restored: its native name in `out`, or beside it marked as restored, a part as such.

    Raises:
        FormatError: not a readable `.acz` file.
    """
    with wanted.open(path) as reader:
        header = reader.header
        partial = wanted.partial(reader)
        info = _lossless_video(header.file) if header.bound is not None else header.file
        name = Path(_format(header).restored_name(header.source_name, info)).name
    if partial:
        name = f"{Path(name).stem}.part{Path(name).suffix}"
    if out is not None or partial:
        return (out or path.parent) / name
    return path.parent / f"{Path(name).stem}.restored{Path(name).suffix}"


def decompress_file(path: Path, target: Path, pipeline: Pipeline, wanted: Wanted = EVERYTHING) -> list[str]:
    """Restore one file, or parts of it, streaming, atomically; returns what is lost of a damaged one.

    Raises:
        FormatError: damaged, or written by another codec.
        NothingChosen: it holds nothing of what is wanted.
        ResourceError: the disk is full.
    """
    with wanted.open(path) as reader:
        reader.require_codec(pipeline.fingerprint)
        form, file = _format(reader.header), replace(reader.header.file, path=str(target))
        selection = wanted.selection(reader, pipeline, form)
        target.parent.mkdir(parents=True, exist_ok=True)
        info = described(file, selection, form)
        info = with_writer(info, pipeline) if reader.header.bound is None else _lossless_video(info)
        form.write(target, info, cut(restored(reader, pipeline, selection), selection, file, form))
        return losses(reader, selection)


def restored(reader: AczReader, pipeline: Pipeline, selection: Selection | None = None) -> Iterator[Signal]:
    """Segments of an open file, all or those of a selection, decoded, in order."""
    pipeline = for_file(pipeline, reader.header)
    segments = reader.segments(pipeline.coder, selection)
    if reader.header.bound is not None:
        return _within_bound(reader, segments, pipeline)
    return decoded(segments, pipeline, reader.header.source_name)


def decoded(segments: Segments, pipeline: Pipeline, name: str) -> Iterator[Signal]:
    """The coded segments of one native file, decoded, in order; `name` says in an error which file.

    Raises:
        FormatError: tokens that the codec can't have made.
    """
    streams = Streams(pipeline)
    for info, segment in segments:
        _check_windows(name, pipeline, info, segment)
        coded = Coded(segment.tokens, segment.affine)
        signal = pipeline.decode(coded, info, segment.start, segment.length, streams.of(info))
        yield replace(signal, mask=segment.mask, attachments=segment.attachments)


def _within_bound(reader: AczReader, segments: Segments, pipeline: Pipeline) -> Iterator[Signal]:
    """Segments of an open file whose values were promised to be within a bound."""
    for info, segment in segments:
        name = f"{reader.header.source_name}, signal {info.id!r} from {segment.start}"
        if len(segment.tokens):
            _check_windows(reader.header.source_name, pipeline, info, segment)
        try:
            values = restored_values(pipeline, info, segment, reader.models)
        except Mismatch as error:
            how = "decompress with --device cpu, or with the versions of the libraries that wrote it"
            raise FormatError(str(error), where=name, how=how) from error
        except Damaged as error:
            raise FormatError(str(error), where=name, how="compress the original again") from error
        yield Signal(
            info=info, values=values, start=segment.start, mask=segment.mask,
            attachments=segment.attachments,
        )  # fmt: skip


def _check_windows(name: str, pipeline: Pipeline, info: SignalInfo, segment: SegmentData) -> None:
    """A well-formed file can still lie about its windows."""
    windows = pipeline.windower.count(pipeline.shape(info, segment.length))
    levels = len(pipeline.codec.codebook_sizes)
    size, strides = pipeline.windower.size, pipeline.spec.codec.token_strides[:levels]
    made = [[windows, *(s // f for s, f in zip(size, stride, strict=True))] for stride in strides]
    found = [list(level.shape) for level in segment.tokens.grids]
    if found != made:
        raise FormatError(
            f"a segment of {segment.length} has tokens {found}, its codec makes {made}",
            where=f"{name}, signal {info.id!r} from {segment.start}",
            how="compress the original again",
        )


def pipeline_of(
    path: Path,
    run: Path | None,
    device: str,
    loaded: dict[Path, Pipeline] | None = None,
    prior: Path | None = None,
) -> Pipeline:
    """The run of a file, with the prior that it needs.

    Args:
        path: the file.
        run: where it is; None = where the file says.
        device: auto, cpu or cuda.
        loaded: runs that are loaded already, by their folders.
        prior: the prior's run; None = where the file says.

    Raises:
        FormatError: not a readable `.acz` file.
        RunError: it is not there.
    """
    folder = run or _run_of(path)
    loaded = {} if loaded is None else loaded
    if folder not in loaded:
        loaded[folder] = Pipeline.open(folder, device)
    attach(loaded[folder], path, prior)
    return loaded[folder]


def _run_of(path: Path) -> Path:
    """The run that wrote a file."""
    return find_run(read_header(path).codec, path)


def find_run(codec: Mapping[str, Any], path: Path) -> Path:
    """The run that coded a file: where the file says, or a run of the same fingerprint under runs/.

    Args:
        codec: what the file says of its codec.
        path: the file.

    Raises:
        RunError: it is not there.
    """
    fingerprint, recorded = str(codec.get("fingerprint")), Path(str(codec.get("run")))
    candidates = [recorded, Path("runs") / recorded.name, *sorted(Path("runs").glob("*"))]
    for folder in candidates:
        run = RunDirectory(folder)
        if run.config.is_file() and run.read_manifest().get("fingerprint") == fingerprint:
            return folder
    raise RunError(
        f"the run that coded {path.name} is not at {recorded}, nor under runs/",
        where=str(path),
        how="give its folder with --run",
    )


def _format(header: Header) -> Format:  # type: ignore[type-arg]
    return get_format(header.file.format)


def _lossless_video(info: FileInfo) -> FileInfo:
    """Values within a bound are stored without further loss."""
    return replace(info, meta={**info.meta, "writer": "ffv1"}) if info.format == "video" else info


def with_writer(info: FileInfo, pipeline: Pipeline) -> FileInfo:
    """Video is stored the way the run's source asks for."""
    source = pipeline.source
    return (
        replace(info, meta={**info.meta, "writer": source.writer})
        if isinstance(source, VideoSource)
        else info
    )
