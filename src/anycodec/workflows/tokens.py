"""`anycodec tokens`: look at a token set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from rich.table import Table

from anycodec.bitstream.shard_reader import ShardReader
from anycodec.bitstream.shard_schema import ShardHeader
from anycodec.errors import FormatError
from anycodec.metrics.codebook import CodebookUse
from anycodec.metrics.rate import entropy_rate
from anycodec.types import Tokens
from anycodec.workflows.console import out as console
from anycodec.workflows.progress import track
from anycodec.workflows.shards import manifest as manifests
from anycodec.workflows.shards.manifest import COUNTS, Manifest, ShardRecord
from anycodec.workflows.shards.plan import shard_name
from anycodec.workflows.shards.token_set import TokenSet

_CODES_SHOWN = 12


def stats(folder: Path) -> int:
    """Print counts, and how each level uses its codes.

    Raises:
        FormatError: not a finished token set, or damaged.
    """
    tokens = TokenSet(folder)
    counts = [np.zeros(size, np.int64) for size in tokens.header.codebook_sizes]
    for reader in track(tokens.shards(), len(tokens.records), "counting"):
        for level, found in enumerate(reader.counts()):
            counts[level] += found
    totals = tokens.manifest.totals()
    size = sum(record.size for record in tokens.records)
    table = Table("level", "codes", "in use", "share", "perplexity", "bits/token", "tokens", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for level, histogram in enumerate(counts):
        use = CodebookUse.of(histogram)
        table.add_row(
            str(level), f"{use.size:,}", f"{use.used:,}", f"{use.share:.1%}", f"{use.perplexity:,.1f}",
            f"{use.entropy:.3f}", f"{histogram.sum():,}",
        )  # fmt: skip
    for name in COUNTS:
        console.print(f"{name.replace('_', ' '):<14}{totals[name]:,}")
    console.print(f"{'shards':<14}{len(tokens.records):,} ({size:,} bytes)")
    console.print(f"{'left out':<14}{len(tokens.manifest.skipped):,} files")
    if samples := totals["samples"]:
        entropy, stored = entropy_rate(counts, samples), 8 * size / samples
        console.print(f"{'rate':<14}{entropy:.4g} bits/sample at the entropy of the tokens")
        console.print(f"{'stored':<14}{stored:.4g} bits/sample with all side information")
    console.print(table, soft_wrap=False)
    return 0


def head(folder: Path, rows: int) -> int:
    """Print the first rows.

    Raises:
        FormatError: not a finished token set, or damaged.
    """
    for row in islice(TokenSet(folder).rows(), rows):
        console.print(f"{row.id}  {list(row.info.shape)} from {row.data.start}", markup=False)
        for level, grid in enumerate(row.data.tokens.grids):
            codes = " ".join(map(str, grid.ravel()[:_CODES_SHOWN]))
            more = " ..." if grid.size > _CODES_SHOWN else ""
            console.print(f"  tokens_{level} {list(grid.shape)}: {codes}{more}", markup=False)
    return 0


def verify(folder: Path) -> int:
    """Check every byte of a token set against its manifest and every row against the format.

    Returns:
        0, or 2 where something is wrong; all of it is printed.

    Raises:
        FormatError: not a token set.
    """
    manifest = manifests.read(folder)
    found = list(_problems(folder, manifest))
    for problem in found:
        console.print(problem, style="red", markup=False)
    if found:
        console.print("remove a damaged shard and run the same `anycodec tokenize` command again")
        return 2
    totals = manifest.totals()
    console.print(f"{len(manifest.records):,} shards, {totals['rows']:,} rows: all is right")
    return 0


def _problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    if not manifest.finished:
        yield f"the job is not finished: {len(manifest.records)} of {manifest.info.shards} shards are done"
    planned = {shard_name(number) for number in range(manifest.info.shards)}
    for path in sorted(folder.glob("*.parquet")):
        if path.name not in planned:
            yield f"{path.name}: not one of this set"
    sources: set[str] = set()
    header: ShardHeader | None = None
    for number in track(range(manifest.info.shards), manifest.info.shards, "verifying"):
        record = manifest.records.get(number)
        if record is None:
            yield f"{shard_name(number)}: not in the manifest"
            continue
        try:
            header = _check_shard(folder, record, manifest, sources, header)
        except FormatError as error:
            yield f"{record.name}: {error.what}"


def _check_shard(
    folder: Path, record: ShardRecord, manifest: Manifest, sources: set[str], header: ShardHeader | None
) -> ShardHeader:
    """Check one shard; `sources` collects the files of all.

    Raises:
        FormatError: what is wrong.
    """
    path = folder / record.name
    with ShardReader(path) as reader:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != record.sha256:
                raise FormatError("its checksum is not the manifest's")
        found = reader.header
        if found.fingerprint != manifest.info.fingerprint or not found.same_codec(header or found):
            raise FormatError("of another codec than the others")
        rows = signals = tokens = 0
        for row in reader.rows():
            if row.signal == row.segment == 0:
                if row.source in sources:
                    raise FormatError(f"{row.source} is there twice")
                sources.add(row.source)
            rows += 1
            signals += row.segment == 0
            tokens += _size(row.data.tokens)
        if (rows, signals, tokens) != (record.rows, record.signals, record.tokens):
            raise FormatError(
                f"{rows} rows, {signals} signals, {tokens} tokens are not the manifest's counts"
            )
        return reader.header


def _size(tokens: Tokens) -> int:
    return sum(grid.size for grid in tokens.grids)
