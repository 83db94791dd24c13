"""`anycodec train` of a generator: latents -> run directory."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from anycodec.checkpoint import Arrays, RunDirectory
from anycodec.config.generation import GeneratorRunSpec
from anycodec.config.kinds import GENERATOR
from anycodec.data.latents import Latents, LatentsInfo
from anycodec.engine import GeneratorJob, LatentSizes, TrainingResult, get_engine
from anycodec.errors import ConfigError, DataError, RunError, UserError
from anycodec.workflows.console import out as console
from anycodec.workflows.continuing import check_folder
from anycodec.workflows.logs import logging_to
from anycodec.workflows.provenance import made_by, outcome

MOST_KEPT = 2**14
"""Windows whose normalizer's statistics a run keeps for its samples."""


def train(spec: GeneratorRunSpec, run: RunDirectory, *, resume: bool, quiet: bool) -> TrainingResult:
    """Train a generator into a run directory, from the configuration alone or continuing a run.

    Raises:
        ConfigError: a generator that the latents don't fit.
        DataError: damaged latents, or none to train on.
        RunError: the folder holds another run, or cannot be continued with these settings.
    """
    engine = get_engine("torch")
    latents = Latents(spec.latents)
    info = latents.info
    sizes = latent_sizes(info)
    _check_fit(spec, info)
    check_codec(info)
    check_folder(run, GENERATOR, spec, resume=resume)
    _check_latents(run, spec, info)
    run.create(spec)
    run.update_manifest(**provenance(info))
    run.write_statistics(normalizer_statistics(latents))
    if not quiet:
        _announce(run, spec, info)
    job = GeneratorJob(spec=spec, sizes=sizes, latents=latents, run=run, resume=resume, quiet=quiet)
    with logging_to(run.log):
        result = engine.train_generator(job)
    bests = {metric: dict(best) for metric, best in result.bests.items()}
    run.update_manifest(training=outcome(result, bests, "values_per_second"))
    if not quiet:
        console.print(f"next: anycodec sample {shlex.quote(str(run.path))} -o samples", markup=False)
    return result


def latent_sizes(info: LatentsInfo) -> LatentSizes:
    """What a generator derives from latents."""
    return LatentSizes(
        shape=info.shape,
        n_classes=len(info.classes),
        grids=info.grids,
        codebook_sizes=info.codebook_sizes,
        mean=info.mean,
        std=info.std,
    )


def _check_fit(spec: GeneratorRunSpec, info: LatentsInfo) -> None:
    """Refuse a generator that these latents don't fit.

    Raises:
        ConfigError: says which setting, and how to mend it.
        DataError: there is nothing to train on.
    """
    if not info.counts.get("train"):
        raise DataError("these latents have no training split", where=str(spec.latents))
    generator = spec.generator
    if generator.takes == "tokens" and not info.grids:
        mistake = UserError(
            f"the generator {generator.type} works on tokens, and the codec of these latents "
            f"({info.codec.type} with {info.codec.bottleneck}) has none",
            where="generator.type",
            how="use a generator of latents (dit, unet), or a codec with a codebook",
        )
        raise ConfigError([mistake])
    misfit = generator.misfit(info.shape if generator.takes == "latents" else info.grids[0])
    if misfit:
        key = f"generator.{misfit.setting}"
        raise ConfigError([UserError(f"`{key}`: {misfit.what}", where=str(spec.latents), how=misfit.how)])


def check_codec(info: LatentsInfo) -> None:
    """Refuse latents of a codec that has changed since: nothing could decode their samples.

    Raises:
        RunError: says how to mend it.
    """
    codec = RunDirectory(Path(info.codec.path))
    if codec.config.is_file() and codec.fingerprint() != info.codec.fingerprint:
        raise RunError(
            "the codec has changed since it made these latents",
            where=info.codec.path,
            how="make the latents again: anycodec latents RUN DIR -o OUT",
        )


def _check_latents(run: RunDirectory, spec: GeneratorRunSpec, info: LatentsInfo) -> None:
    """Refuse to go on with other latents.

    Raises:
        RunError: the run was started on others.
    """
    before = run.read_manifest().get("latents", {}).get("fingerprint")
    if run.config.is_file() and before != info.fingerprint:
        raise RunError(
            "the run was started on other latents",
            where=str(spec.latents),
            how="give the folder that it was started with, or start a new run with another --out",
        )


def provenance(info: LatentsInfo) -> dict[str, Any]:
    """What the manifest says: enough to load the generator, and to tell whether a codec is its own."""
    described = info.model_dump(
        mode="json", exclude={"shards", "skipped", "class_counts", "format", "version"}
    )
    codec = described.pop("codec")
    return {
        **made_by("torch"),
        "kind": "generator",
        "codec": codec,
        "latents": described,
    }


def normalizer_statistics(latents: Latents) -> Arrays:
    """The normalizer's statistics of training windows, spread evenly, from which samples draw theirs."""
    rows = latents.rows("train")
    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_KEPT)).round().astype(int)]
    affine = latents.affine(chosen)
    return {"shift": affine.shift, "scale": affine.scale, "labels": latents.labels[chosen]}


def _announce(run: RunDirectory, spec: GeneratorRunSpec, info: LatentsInfo) -> None:
    process = f" by {spec.process.type}" if spec.process else ""
    shape = " x ".join(map(str, info.shape))
    console.print(f"run [bold]{run.path}[/bold]: {spec.generator.type}{process} on latents of {shape}")
    counts = ", ".join(f"{count:,} {name}" for name, count in info.counts.items())
    classes = f"{len(info.classes)} classes" if info.classes else "no classes"
    console.print(f"latents: {counts} windows, {classes}, of {info.codec.path}", markup=False)
