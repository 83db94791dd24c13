"""What `inspect` says of learned priors."""

from __future__ import annotations

from collections.abc import Iterator

from anycodec.bitstream.container import AczReader
from anycodec.bitstream.entropy import codes_by_prior
from anycodec.checkpoint import RunDirectory
from anycodec.config.kinds import PRIOR
from anycodec.workflows.priors import open_prior

Row = tuple[str, object]


def prior_rows(reader: AczReader) -> Iterator[Row]:
    """Which prior an open file needs, and how much of it that codes; every segment is read."""
    need = reader.header.prior
    if need is None:
        return
    streams = [stream for _, segment in reader.records() for stream in segment.streams]
    by_prior = sum(codes_by_prior(stream) for stream in streams)
    yield "prior", need["fingerprint"]
    yield "prior's run", need["run"]
    yield "by the prior", f"{by_prior:,} of {len(streams):,} token streams"


def prior_run_rows(run: RunDirectory) -> Iterator[Row]:
    """What the run of a prior holds.

    Raises:
        RunError: damaged.
    """
    spec, manifest = run.spec_of(PRIOR), run.read_manifest()
    yield "run", f"{spec.name}, a prior of tokens, {manifest.get('started', 'not started')}"
    codec = manifest.get("codec", {})
    yield "codec", f"{codec.get('fingerprint')} at {codec.get('path')}"
    if not run.weights.is_file():
        yield "weights", "none yet"
        return
    prior = open_prior(run.path)
    count = sum(array.size for array in prior.arrays.values())
    yield "fingerprint", prior.fingerprint
    yield "weights", f"{count:,} whole numbers, {run.weights.stat().st_size:,} bytes"
    for number, (size, level) in enumerate(zip(prior.codebook_sizes, prior.levels, strict=True)):
        yield f"level {number}", f"{size} codes, given {len(level.contexts)} neighbours"
    for name, best in manifest.get("training", {}).get("best", {}).items():
        yield "best", f"{name} {best['value']:.4f} at step {best['step']}"
