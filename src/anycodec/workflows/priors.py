"""A trained prior at work: found for a file, checked, and given to the pipeline of its codec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from anycodec.bitstream.prior import Prior
from anycodec.bitstream.reader import read_header
from anycodec.checkpoint import RunDirectory
from anycodec.config.kinds import PRIOR
from anycodec.errors import RunError
from anycodec.workflows.pipeline import Pipeline

LARGEST_FILE = 2**28
"""Bytes of a prior's weights."""


def open_prior(path: Path) -> Prior:
    """The prior of a run.

    Raises:
        RunError: not a finished run of a prior, or a damaged one.
    """
    run = RunDirectory(path)
    if run.kind() is not PRIOR:
        raise RunError(
            f"this is the run of a {run.kind()}, not of a prior",
            where=str(path),
            how="train one: anycodec train configs/prior-nanopore.yaml codec=RUN",
        )
    if not run.weights.is_file():
        raise RunError(
            "the prior has no weights yet", where=str(path), how="train it on: anycodec train --resume"
        )
    try:
        if run.weights.stat().st_size > LARGEST_FILE:
            raise ValueError("it is too large")
        with safe_open(run.weights, framework="numpy") as file:
            return Prior.from_arrays({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"the prior is damaged: {error}", where=str(run.weights)) from error


def use_prior(pipeline: Pipeline, path: Path) -> None:
    """Code with this prior from now on.

    Raises:
        RunError: not a prior, or that of another codec.
        UserError: the codec has no tokens.
    """
    pipeline.require_tokens()
    prior = open_prior(path)
    if prior.codec != pipeline.fingerprint:
        raise RunError(
            "prior and codec don't belong together: this prior is of the tokens of another codec",
            where=str(path),
            how="give a prior of this codec, or train one: "
            f"anycodec train configs/prior-nanopore.yaml codec={pipeline.run.path}",
        )
    pipeline.use_prior(prior)
    pipeline.prior_run = path


def prior_entry(pipeline: Pipeline) -> dict[str, str] | None:
    """What coded files say of the prior that they need, None where they need none."""
    if pipeline.prior is None or pipeline.prior_run is None:
        return None
    return {"fingerprint": pipeline.prior.fingerprint, "run": str(pipeline.prior_run.resolve())}


def attach(pipeline: Pipeline, file: Path, given: Path | None) -> None:
    """Give the pipeline of a file's codec the prior that the file needs.

    Args:
        pipeline: of the codec.
        file: an `.acz` file.
        given: the prior's run where the user names it; None = where the file says, or one of the same
            fingerprint under runs/ or beside the codec's run.

    Raises:
        FormatError: not such a file.
        RunError: the prior is not there, or another one.
    """
    entry = read_header(file).prior
    if entry is None or (pipeline.prior is not None and pipeline.prior.fingerprint == entry["fingerprint"]):
        return
    if given is not None:
        use_prior(pipeline, given)
        if pipeline.prior is None or pipeline.prior.fingerprint != entry["fingerprint"]:
            raise RunError(
                f"wrong prior: {file.name} was written with another one ({entry['fingerprint'][:12]})",
                where=str(given),
                how=f"give the one that wrote it with --prior (it was at {entry['run']:.200})",
            )
        return
    for folder in _candidates(entry, pipeline):
        if _is(folder, entry["fingerprint"]):
            use_prior(pipeline, folder)
            return
    raise RunError(
        f"the prior that coded {file.name} is not at {entry['run']:.200}, nor under runs/",
        where=str(file),
        how="give its folder with --prior",
    )


def _candidates(entry: Mapping[str, str], pipeline: Pipeline) -> Iterator[Path]:
    recorded = Path(entry["run"])
    beside = pipeline.run.path.resolve().parent
    for folder in (Path("runs"), beside):
        yield folder / recorded.name
    yield recorded
    for folder in (Path("runs"), beside):
        yield from sorted(folder.glob("*"))


def _is(folder: Path, fingerprint: str) -> bool:
    """Whether a folder is the run of this prior."""
    try:
        run = RunDirectory(folder)
        return run.config.is_file() and run.kind() is PRIOR and open_prior(folder).fingerprint == fingerprint
    except RunError:
        return False
