"""`anycodec compress`: native files -> .acz files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from anycodec import __version__
from anycodec.bitstream.container import AczWriter, Bound, Header, SegmentData
from anycodec.config.run import RunSpec
from anycodec.engine import WindowCoder
from anycodec.errors import DataError, UserError
from anycodec.io.base import Reader
from anycodec.io.formats import get_format
from anycodec.types import FileInfo, Signal, Skipped
from anycodec.workflows.console import out as console
from anycodec.workflows.inputs import find_files, refuse_urls
from anycodec.workflows.pipeline import Pipeline, Streams
from anycodec.workflows.prior_data import beside_of
from anycodec.workflows.priors import prior_entry, use_prior
from anycodec.workflows.progress import track
from anycodec.workflows.rate import Measured, Target, choose, out_of_reach
from anycodec.workflows.within_bound import BoundedEncoder

SUFFIX = ".acz"
_OF_TRAINING = {
    *("root", "split", "exclude", "on_error", "files_per_epoch", "stage_to", "stage_limit_gb"),
    *("cache_limit_gb", "workers", "prefetch"),
}
"""Settings of the data that say nothing of how files are coded."""


def run(
    run: Path,
    inputs: list[Path],
    out: Path | None,
    device: str,
    bound: Bound | None = None,
    *,
    target: Target | None = None,
    coarse: bool = False,
    prior: Path | None = None,
) -> int:
    """Compress each file, every value within `bound`; files that can't be read are named and left out.

    Where `out` ends in .acz they become one file, else one each in the folder `out`. Files come to a `target`
    where there is one. `coarse` puts statistics on a coarse grid.
    `prior` is the run of a learned prior of the codec's tokens.

    Returns:
        0, or 2 where a file was left out.

    Raises:
        RunError: not a finished run, or a prior of another codec.
        DataError: no input holds a usable file.
        UserError: an output exists already, or the codec has no tokens.
    """
    pipeline = Pipeline.open(run, device)
    if prior is not None:
        use_prior(pipeline, prior)
    if coarse:
        pipeline = pipeline.with_coarse_statistics()
    return run_with(pipeline, inputs, out, bound, target)


def run_with(
    pipeline: Pipeline,
    inputs: list[Path],
    out: Path | None,
    bound: Bound | None = None,
    target: Target | None = None,
) -> int:
    """Compress with a loaded run; see `run`."""
    pipeline.require_tokens()
    if out is not None and out.suffix == SUFFIX and not out.is_dir():
        return _joined(pipeline, inputs, out, bound, target)
    plan, skipped = plan_outputs(pipeline, inputs, out)
    check_targets(plan)
    done: list[tuple[Path, Path]] = []
    for source, packed in track(plan, len(plan), "compressing"):
        try:
            if target is None:
                compress_file(pipeline, source, packed, bound)
            else:
                console.print(compress_to(pipeline, source, packed, target), markup=False)
        except DataError as error:
            skipped.append(Skipped(str(source), error.what))
            continue
        done.append((source, packed))
    report(done, skipped)
    return 2 if skipped else 0


def _joined(
    pipeline: Pipeline, inputs: list[Path], out: Path, bound: Bound | None, target: Target | None
) -> int:
    """All files as one."""
    from anycodec.workflows.joining import compress_joined

    if target is not None:
        raise UserError(
            f"{target} is of one file each", where=str(out),
            how="give a folder with -o, or a bound with --max-error",
        )  # fmt: skip
    return compress_joined(pipeline, inputs, out, bound)


def plan_outputs(
    pipeline: Pipeline, inputs: list[Path], out: Path | None
) -> tuple[list[tuple[Path, Path]], list[Skipped]]:
    """Which file becomes which: beside the original, or under `out` with the folders of the input."""
    if out is None:
        refuse_urls(inputs, "compressed files")
    files, skipped = find_files(inputs, pipeline.given_files)
    plan = [
        (path, (path.parent if out is None else out / inside.parent) / (path.name + SUFFIX))
        for path, inside in files.items()
    ]
    return plan, skipped


def check_targets(plan: Sequence[tuple[Path, Path]]) -> None:
    """Never overwrite: an existing file may be the only copy, and so may each of two inputs.

    Raises:
        UserError: names what is there already, or what would become the same file.
    """
    sources: dict[Path, Path] = {}
    for source, target in plan:
        if target in sources:
            raise UserError(
                f"{sources[target]} and {source} would both become {target.name}; nothing was written",
                where=str(target),
                how="give the folder that holds both, so that its sub-folders are kept, or one at a time",
            )
        sources[target] = source
    existing = [target for target in sources if target.exists()]
    if existing:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise UserError(
            f"{existing[0].name} exists already{more}; nothing was written",
            where=str(existing[0]),
            how="choose another folder with -o, or remove it first",
        )


def compress_file(pipeline: Pipeline, source: Path, target: Path, bound: Bound | None = None) -> None:
    """Compress one native file, streaming, atomically; see `within_bound` for a bound.

    Raises:
        DataError: unreadable, or not what the codec was trained for.
        ResourceError: the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with get_format(pipeline.source.type).open(source, pipeline.source) as reader:
        header = make_header(pipeline, reader.info, bound)
        with AczWriter(target, header, pipeline.coder) as writer:
            write_signals(writer, pipeline, segments(reader, pipeline), reader.info, bound)


def compress_to(pipeline: Pipeline, source: Path, packed: Path, target: Target) -> str:
    """Compress one file to a rate, a ratio or a quality; returns what was reached, for people.

    Raises:
        DataError: as `compress_file`, or out of reach.
        UserError: the target counts what the file has not.
    """
    measured = Measured(pipeline, source)
    for point in choose(measured, target, source):
        compress_file(measured.with_point(point, target), source, packed, point.bound)
        bits = 8 * packed.stat().st_size / measured.units
        if target.goal == "quality" or bits <= measured.most_bits(target):
            return f"{source}: {measured.reached(point, bits)}, {target}"
        packed.unlink()
    raise out_of_reach(measured, target, source)


def write_signals(
    writer: AczWriter, pipeline: Pipeline, signals: Iterable[Signal], file: FileInfo, bound: Bound | None
) -> None:
    """Code segments of one native file in order."""
    if bound is not None:
        encoder = BoundedEncoder(pipeline, writer, file, bound)
        for signal in signals:
            encoder.add(signal)
        return
    streams = Streams(pipeline)
    for signal in signals:
        write_segment(writer, pipeline, signal, streams.of(signal.info))


def make_header(pipeline: Pipeline, info: FileInfo, bound: Bound | None = None) -> Header:
    """What a reader must know before the first segment."""
    return Header(
        program=f"anycodec {__version__}",
        source_name=Path(info.path).name,
        file=FileInfo(
            path=Path(info.path).name, format=info.format, n_signals=info.n_signals, meta=info.meta
        ),
        source=pipeline.spec.data.model_dump(mode="json", exclude=_OF_TRAINING, exclude_none=True),
        codec=codec_entry(pipeline.run.path, pipeline.spec, pipeline.fingerprint),
        codebook_sizes=pipeline.codec.codebook_sizes,
        coder=pipeline.coder.name,
        bound=bound,
        rate=pipeline.rate,
        coarse=pipeline.coarse and pipeline.stores_statistics,
        prior=prior_entry(pipeline),
    )


def codec_entry(run: Path, spec: RunSpec, fingerprint: str) -> dict[str, str]:
    """What coded files say of their codec."""
    return {
        "fingerprint": fingerprint,
        "run": str(run.resolve()),
        "name": spec.name,
        "type": spec.codec.type,
        "quantizer": spec.codec.bottleneck,
        "engine": spec.engine,
    }


def segments(reader: Reader, pipeline: Pipeline) -> Iterator[Signal]:
    """The file in segments of the size that normalizers and windows want."""
    first = next(iter(reader.signals()), None)
    if first is None:
        raise DataError("the file holds no signal", where=reader.info.path)
    yield from reader.segments(pipeline.windower.block(first))


def write_segment(writer: AczWriter, pipeline: Pipeline, signal: Signal, coder: WindowCoder) -> None:
    """Code one segment into the file."""
    coded = pipeline.encode(signal, coder)
    writer.add(signal.info, SegmentData(
        start=signal.start, length=signal.length, tokens=coded.tokens, affine=coded.affine,
        mask=signal.mask, attachments=signal.attachments,
        beside=beside_of(pipeline, signal.info, signal.length),
    ))  # fmt: skip


def report(done: list[tuple[Path, Path]], skipped: list[Skipped]) -> None:
    """Say what became of which file; several can have become one."""
    targets = {target for _, target in done}
    before = sum(source.stat().st_size for source, _ in done)
    after = sum(target.stat().st_size for target in targets)
    for source, target in done[:10]:
        sizes = f"{source.stat().st_size:,} -> {target.stat().st_size:,} bytes"
        own = f": {sizes}" if len(targets) == len(done) else ""
        console.print(f"{source} -> {target}{own}", markup=False)
    if len(done) > 10:
        console.print(f"... {len(done) - 10} more")
    if done:
        ratio = max(1, before) / max(1, after)
        change = f"{ratio:.1f}x smaller" if ratio >= 1 else f"{1 / ratio:.1f}x LARGER"
        console.print(f"{len(done)} files, {before:,} -> {after:,} bytes, {change}")
    for item in skipped:
        console.print(f"left out: {item.path}: {item.reason}", style="yellow", markup=False)
