"""`anycodec detokenize`: shards of tokens -> native files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from anycodec.bitstream.segment import SegmentData
from anycodec.bitstream.shard_schema import Row
from anycodec.errors import DataError, FormatError, UserError
from anycodec.io.base import Format
from anycodec.io.formats import get_format
from anycodec.types import SignalInfo
from anycodec.workflows.console import out as console
from anycodec.workflows.decompress import decoded, find_run, with_writer
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.progress import track
from anycodec.workflows.shards.token_set import TokenSet


def run(folder: Path, out: Path, run: Path | None = None, device: str = "auto") -> int:
    """Restore every native file of a token set under `out`, with its sub-folders.

    Args:
        folder: the token set.
        out: folder to write into.
        run: the run that wrote it; None = where the set says.
        device: auto, cpu or cuda.

    Raises:
        FormatError: not a token set, damaged, or of another codec.
        RunError: the run is not found.
        UserError: a file exists already.
        ResourceError: the disk is full.
    """
    tokens = TokenSet(folder)
    pipeline = Pipeline.open(run or find_run(tokens.header.codec, folder), device)
    _require_codec(tokens, pipeline)
    files = groupby(tokens.rows(), key=lambda row: row.source)
    total = tokens.manifest.totals()["files"]
    for source, rows in track(files, total, "restoring"):
        _restore(source, rows, out, pipeline)
    console.print(f"{total:,} files restored in {out}", markup=False)
    return 0


def _require_codec(tokens: TokenSet, pipeline: Pipeline) -> None:
    """Refuse tokens of another codec.

    Raises:
        FormatError: the set was written by a run with another fingerprint.
    """
    codec, found = tokens.header.codec, tokens.header.fingerprint
    if found != pipeline.fingerprint:
        raise FormatError(
            f"wrong codec: the tokens are of {codec.get('name')!s:.80} ({found[:12]}), "
            f"the run given is {pipeline.fingerprint[:12]}",
            where=str(tokens.folder),
            how=f"give the run that wrote them with --run (it was at {codec.get('run')!s:.200})",
        )


def _restore(source: str, rows: Iterator[Row], out: Path, pipeline: Pipeline) -> None:
    """Write one native file, streaming, atomically."""
    first = next(rows)
    form = _format(first)
    target = out / Path(source).parent / Path(form.restored_name(first.file.path, first.file)).name
    if target.exists():
        raise UserError(
            f"{target.name} exists already; it was not touched",
            where=str(target),
            how="choose another folder with -o, or remove it first",
        )
    target.parent.mkdir(parents=True, exist_ok=True)

    def segments() -> Iterator[tuple[SignalInfo, SegmentData]]:
        yield first.info, first.data
        for row in rows:
            yield row.info, row.data

    info = replace(first.file, path=str(target))
    form.write(target, with_writer(info, pipeline), decoded(segments(), pipeline, source))


def _format(row: Row) -> Format[Any]:
    try:
        return get_format(row.file.format)
    except DataError as error:
        raise FormatError(error.what, where=row.source, how=error.how) from error
