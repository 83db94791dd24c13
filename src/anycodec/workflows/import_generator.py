"""`anycodec import` of a generator: published weights -> run directory."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anycodec.atomic import atomic_folder
from anycodec.checkpoint import RunDirectory, write_arrays
from anycodec.config.generation import GeneratorRunSpec
from anycodec.config.kinds import GENERATOR
from anycodec.config.loader import load_kind
from anycodec.config.source import read_file
from anycodec.data.latents import Latents
from anycodec.engine import GeneratorSource, ImportedGenerator, get_engine
from anycodec.errors import UserError, WeightsError
from anycodec.workflows.console import out as console
from anycodec.workflows.import_ import check_target, origin
from anycodec.workflows.provenance import made_by
from anycodec.workflows.train_generator import check_codec, normalizer_statistics, provenance

_UNKNOWN = "latents"
"""The folder of latents in the configuration of a run that none belong to yet."""


def run(
    source: GeneratorSource,
    weights: Path,
    *,
    overrides: list[str],
    config: Path | None,
    out: Path | None,
    force: bool,
) -> int:
    """Make a run of a published generator.

    With `latents=DIR` among the overrides, codec and latents belong to the run, and it can draw samples.

    Args:
        source: whose weights they are.
        weights: the file.
        overrides: settings laid over the derived ones.
        config: the configuration that was published with them.
        out: the run's folder; None = runs/SOURCE.
        force: replace a run that is there.

    Raises:
        WeightsError: unreadable, unsafe, or not of that source.
        RunError: the folder holds something already.
        ConfigError: mistakes in the overrides.
        UserError: latents that are not like those of the published generator.
    """
    target = RunDirectory(out or Path("runs") / source)
    check_target(target.path, force)
    if weights.is_dir():
        raise WeightsError("a folder", where=str(weights), how="give the file that holds the weights")
    settings = read_file(config)[0].plain() if config else None
    imported = get_engine("torch").import_generator(source, weights, settings)
    with atomic_folder(target.path) as folder:
        attached = _write(RunDirectory(folder), source, imported, overrides, origin(source, weights))
    numbers = sum(array.size for array in imported.tensors.values())
    shape = " x ".join(map(str, imported.shape))
    console.print(
        f"run [bold]{target.path}[/bold]: {imported.spec.type} by {imported.process.type} on latents of "
        f"{shape}, {imported.n_classes:,} classes, {numbers:,} numbers"
    )
    if attached:
        console.print(f"next: anycodec sample {shlex.quote(str(target.path))} -o samples", markup=False)
    else:
        console.print(f"note: {_missing(imported)}", markup=False)
    return 0


def _write(
    run: RunDirectory,
    source: GeneratorSource,
    imported: ImportedGenerator,
    overrides: list[str],
    origin: Mapping[str, Any],
) -> bool:
    """Fill the folder of a run; whether latents belong to it."""
    attached = any(override.startswith("latents=") for override in overrides)
    spec = GeneratorRunSpec(
        name=source, latents=Path(_UNKNOWN), generator=imported.spec, process=imported.process
    )
    run.create(spec)
    spec = load_kind(GENERATOR, run.config, overrides, check_paths=attached)
    if spec.generator.model_copy(update={"gradient_checkpointing": False}) != imported.spec:
        raise UserError("the weights decide these settings", where="generator", how="leave them as they are")
    run.create(spec)
    write_arrays(run.weights, imported.tensors)
    run.write_manifest({"imported": {**origin, "note": "" if attached else _missing(imported)}})
    if attached:
        _attach(run, spec, imported)
    else:
        run.update_manifest(**made_by("torch"), kind="generator", codec=None, latents=None)
    return attached


def _attach(run: RunDirectory, spec: GeneratorRunSpec, imported: ImportedGenerator) -> None:
    """Store what the run needs of its latents to draw samples.

    Raises:
        UserError: they are not like those that the generator was trained on.
        RunError: their codec has changed.
    """
    latents = Latents(spec.latents)
    info = latents.info
    for what, theirs, ours in (
        ("shape", info.shape, imported.shape),
        ("number of classes", len(info.classes), imported.n_classes),
    ):
        if theirs != ours:
            raise UserError(
                f"these latents have another {what}, {theirs}, than those of the generator, {ours}",
                where=str(spec.latents),
                how="give latents of the codec and the classes that it was trained with, or leave them out",
            )
    check_codec(info)
    run.update_manifest(**provenance(info))
    run.write_statistics(normalizer_statistics(latents))


def _missing(imported: ImportedGenerator) -> str:
    shape = " x ".join(map(str, imported.shape))
    return (
        "no codec and no latents belong to this generator yet, so that it cannot draw samples; import its "
        f"codec, encode data of its {imported.n_classes:,} classes into latents of {shape} "
        "(anycodec latents), and import the generator again with latents=DIR"
    )
