"""`anycodec train` for a feature network: configuration -> run directory."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from anycodec.checkpoint import RunDirectory
from anycodec.config.features_run import FeaturesRunSpec
from anycodec.config.kinds import FEATURES
from anycodec.config.run import window_shape
from anycodec.data.loader import PreparedData, prepare
from anycodec.engine import FeaturesJob, FeaturesResult, get_engine
from anycodec.errors import DataError
from anycodec.workflows.console import out as console
from anycodec.workflows.continuing import check_folder
from anycodec.workflows.logs import logging_to
from anycodec.workflows.provenance import made_by


def train(spec: FeaturesRunSpec, run: RunDirectory, *, resume: bool, quiet: bool) -> FeaturesResult:
    """Train a feature network into a run directory.

    Raises:
        DataError: no usable data, or no classes where a classifier is trained.
        RunError: the folder holds another run, or cannot be continued with these settings.
    """
    check_folder(run, FEATURES, spec, resume=resume)
    data = prepare(spec.data, spec.seed)
    _check_classes(spec, data)
    run.create(spec)
    run.write_statistics(data.normalizer.to_arrays())
    run.update_manifest(**_manifest(data))
    job = FeaturesJob(
        spec=spec,
        shape=(data.in_channels, *window_shape(spec.data)),
        classes=data.classes,
        run=run,
        train=data.train,
        val=data.val,
        resume=resume,
        quiet=quiet,
    )
    with logging_to(run.log), closing(data.train):
        result = get_engine("torch").train_features(job)
    best = {"metric": result.metric, "value": result.best, "step": result.best_step}
    run.update_manifest(training={"steps": result.steps, "best": best})
    if not quiet:
        console.print(
            f"[bold]{run.path}[/bold]: best {result.metric} {result.best:.4g} at step {result.best_step}, "
            f"{result.steps} steps"
        )
    return result


def _check_classes(spec: FeaturesRunSpec, data: PreparedData) -> None:
    """A classifier needs at least two classes, and a class for everything."""
    if spec.features.objective.type != "classifier":
        return
    pieces = data.train.pieces + data.val.pieces
    unlabelled = next((piece.path for piece in pieces if piece.label is None), None)
    if unlabelled is not None or len(data.classes) < 2:
        raise DataError(
            "a classifier needs two classes or more"
            if unlabelled is None
            else "the file has no class, and a classifier needs one for each",
            where=unlabelled or str(spec.data.root),
            how="put the files of each class into a folder of its own, "
            "or set features.objective.type=vicreg, which needs none",
        )


def _manifest(data: PreparedData) -> dict[str, Any]:
    return {
        **made_by("torch"),
        "in_channels": data.in_channels,
        "classes": list(data.classes),
        "data": {"fingerprint": data.fingerprint, "counts": dict(data.counts)},
    }
