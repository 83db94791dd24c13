"""`anycodec import`: published weights -> run directory."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anycodec.atomic import atomic_folder
from anycodec.checkpoint import RunDirectory, write_arrays
from anycodec.config.data import (
    ArraySource,
    DataSpec,
    ImageSource,
    Pod5Source,
    TableSource,
    VideoSource,
    Window1d,
    Window2d,
    WindowClip,
)
from anycodec.config.loader import load_spec
from anycodec.config.run import RunSpec
from anycodec.config.source import read_file
from anycodec.engine import ImportedCodec, ImportedDiscriminator, WeightSource, get_engine
from anycodec.errors import RunError, UserError, WeightsError
from anycodec.workflows.console import out as console
from anycodec.workflows.provenance import provenance

FOLDER_CONFIG = "config.json"
FOLDER_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
"""What a folder of diffusers holds; the first that is there counts."""

_1D: dict[str, type[Pod5Source | TableSource | ArraySource]] = {
    "pod5": Pod5Source,
    "table": TableSource,
    "array": ArraySource,
}


def run(
    source: WeightSource,
    weights: Path,
    *,
    overrides: list[str],
    config: Path | None,
    data: str | None,
    out: Path | None,
    force: bool,
) -> int:
    """Make a run of published weights.

    Args:
        source: whose weights they are.
        weights: a file, or a folder of diffusers.
        overrides: settings laid over the derived ones (data.root=DIR).
        config: the configuration that was published with them.
        data: data.type of the files that the run is for; None = the kind the weights were trained on.
        out: the run's folder; None = runs/SOURCE.
        force: replace a run that is there.

    Raises:
        WeightsError: unreadable, unsafe, or not of that source.
        RunError: the folder holds something already.
        ConfigError: mistakes in the overrides.
        UserError: this codec does not work on that kind of data.
    """
    target = RunDirectory(out or Path("runs") / source)
    check_target(target.path, force)
    file, settings_file = _files(source, weights, config)
    settings = read_file(settings_file)[0].plain() if settings_file else None
    imported = get_engine("torch").import_weights(source, file, settings)
    rival = imported.discriminator
    spec = RunSpec(
        name=source,
        data=_for_kind(imported.data, data),
        codec=imported.spec,
        adversarial=rival.spec if rival else None,
    )
    with atomic_folder(target.path) as folder:
        _write(RunDirectory(folder), spec, imported, overrides, origin(source, file))
    console.print(
        f"run [bold]{target.path}[/bold]: {imported.spec.type} + {imported.spec.bottleneck}, "
        f"{sum(array.size for array in imported.tensors.values()):,} numbers"
    )
    if imported.note:
        console.print(f"note: {imported.note}", markup=False)
    console.print(f"next: anycodec evaluate {shlex.quote(str(target.path))} FILES", markup=False)
    return 0


def check_target(path: Path, force: bool) -> None:
    """Never overwrite what nobody asked to replace, nor replace what is no run.

    Raises:
        RunError: the folder is not free.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not RunDirectory(path).config.is_file():
        raise RunError(
            "the folder is not empty and holds no run", where=str(path), how="choose another with -o"
        )
    if not force:
        raise RunError(
            "the folder already holds a run",
            where=str(path),
            how="choose another with -o, or replace that run with --force",
        )


def _files(source: WeightSource, weights: Path, config: Path | None) -> tuple[Path, Path | None]:
    """The file with the tensors and the one with the published configuration.

    Raises:
        WeightsError: a folder that is not one of diffusers, or without weights.
    """
    if not weights.is_dir():
        return weights, config
    if source != "diffusers":
        raise WeightsError("a folder", where=str(weights), how="give the file that holds the weights")
    found = [weights / name for name in FOLDER_WEIGHTS if (weights / name).is_file()]
    if not found:
        raise WeightsError(
            "the folder holds no weights",
            where=str(weights),
            how=f"give the folder of the VQModel itself, with one of {', '.join(FOLDER_WEIGHTS)}",
        )
    beside = weights / FOLDER_CONFIG
    return found[0], config or (beside if beside.is_file() else None)


def _for_kind(data: DataSpec, kind: str | None) -> DataSpec:
    """The same normalizer and window for another kind of file.

    Raises:
        UserError: windows of that kind have other axes.
    """
    if kind is None or kind == data.type:
        return data
    window, normalizer = data.window, data.normalizer
    if isinstance(window, Window1d) and kind in _1D:
        return _1D[kind](window=window, normalizer=normalizer)
    if isinstance(window, Window2d) and kind == "image":
        return ImageSource(window=Window2d(size=window.size), normalizer=normalizer)
    if isinstance(window, Window2d) and kind == "video":
        return VideoSource(window=WindowClip(size=window.size), normalizer=normalizer)
    fitting = ("image", "video") if isinstance(window, Window2d) else tuple(_1D)
    raise UserError(
        f"this codec cannot work on data of type {kind}",
        where="--data",
        how=f"use one of {', '.join(fitting)}",
    )


def _write(
    run: RunDirectory, spec: RunSpec, imported: ImportedCodec, overrides: list[str], origin: Mapping[str, Any]
) -> None:
    """Fill the folder of a run. All codes are as likely: nothing is known of their use."""
    run.create(spec)
    spec = load_spec(run.config, overrides, check_paths=any(s.startswith("data.root=") for s in overrides))
    run.create(spec)
    write_arrays(run.weights, imported.tensors)
    _write_discriminator(run, spec, imported.discriminator)
    codec = get_engine(spec.engine).load(spec, imported.in_channels, run.weights, "cpu")
    sizes = codec.codebook_sizes
    run.write_statistics({f"token_counts.{i}": np.ones(size, np.int64) for i, size in enumerate(sizes)})
    run.write_manifest(
        {
            **provenance(spec, imported.in_channels),
            "imported": {**origin, "note": imported.note},
            "fingerprint": run.fingerprint(),
            "codebook_sizes": list(sizes),
        }
    )


def _write_discriminator(run: RunDirectory, spec: RunSpec, found: ImportedDiscriminator | None) -> None:
    """Store a discriminator unless the user's settings leave it out.

    Raises:
        UserError: they want another architecture.
    """
    if found is None or spec.adversarial is None:
        return
    if spec.adversarial.discriminator != found.spec.discriminator:
        raise UserError(
            "the imported discriminator has another architecture",
            where="adversarial.discriminator",
            how="leave its settings as they are, or import without it: adversarial=null",
        )
    write_arrays(run.discriminator, found.tensors)


def origin(source: str, file: Path) -> dict[str, str]:
    """What the manifest of a run says of the published file that its weights come from."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"source": source, "file": file.name, "sha256": digest}
