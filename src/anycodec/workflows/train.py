"""`anycodec train`: configuration -> run directory."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from anycodec.checkpoint import RunDirectory
from anycodec.config.kinds import CODEC
from anycodec.config.loader import load_spec
from anycodec.config.run import RunSpec
from anycodec.config.waiting import never_started
from anycodec.data.loader import PreparedData
from anycodec.engine import StartingWeights, TrainingJob, TrainingResult, get_engine
from anycodec.errors import ConfigError, Notice, WeightsError
from anycodec.workflows.backup import Backup, backup_folder, check_backup, restore
from anycodec.workflows.console import out as console
from anycodec.workflows.continuing import check_folder
from anycodec.workflows.labels import known_classes
from anycodec.workflows.logs import logging_to
from anycodec.workflows.provenance import outcome, provenance
from anycodec.workflows.staging import open_staged
from anycodec.workflows.starting import origin, starting_weights
from anycodec.workflows.statistics import token_statistics
from anycodec.workflows.teachers import open_teacher

_OF_ALL_WEIGHTS = ("anycodec", "format", "engine", "in_channels", "started", "versions", "data", "classes")
"""Entries of a manifest that hold for all weights that a training kept."""


def run(config: Path, overrides: list[str], out: Path | None, resume: bool, quiet: bool) -> int:
    """Train a codec, from the configuration alone or continuing a run.

    Raises:
        ConfigError: mistakes in the configuration, all at once.
        DataError: no usable data.
        RunError: the folder holds another run, or cannot be continued with these settings.
    """
    spec = load_spec(config, overrides)
    train(spec, RunDirectory(out or Path("runs") / spec.name), resume=resume, quiet=quiet)
    return 0


def train(spec: RunSpec, run: RunDirectory, *, resume: bool, quiet: bool) -> TrainingResult:
    """Train a codec into a run directory; see `run`."""
    backup = backup_folder(spec, run)
    if backup is not None and resume and restore(backup, run):
        console.print(f"{run.path} is gone: brought back from {backup}", markup=False)
    check_folder(run, CODEC, spec, resume=resume)
    if backup is not None:
        check_backup(backup, run, spec, resume=resume)
    engine = get_engine(spec.engine)  # what is missing shows before data is read
    data = open_staged(spec)
    teacher, classes = open_teacher(spec, data.in_channels), known_classes(spec, data)
    start = starting_weights(spec, data.in_channels, resume=resume)
    if start is None:
        _warn_of_waiting(spec)
    if resume:
        _change_engine(run, spec)
    run.create(spec)
    run.update_manifest(**_provenance(spec, data), **({"classes": list(classes)} if classes else {}))
    if not resume and start is not None and spec.train.init_from is not None:
        run.update_manifest(init_from=origin(spec.train.init_from, start))
    _announce(run, spec, data, start, quiet)
    with logging_to(run.log), closing(data.train), _mirrored(run, backup) as saved:
        job = TrainingJob(
            spec=spec,
            in_channels=data.in_channels,
            run=run,
            train=data.train,
            val=data.val,
            resume=resume,
            quiet=quiet,
            start=start,
            teacher=teacher,
            classes=classes,
            saved=saved,
        )
        with _no_run_of_a_mistake(run, resume):
            result = engine.train(job)
        finish(run, spec, data)
        run.update_manifest(training=_summary(result, spec.train.best.metric))
        for metric in spec.train.keep_best:
            _finish_best(run, spec, data, _summary(result, metric))
        saved()
    if not quiet:
        _report(run, spec, result)
    return result


def _warn_of_waiting(spec: RunSpec) -> None:
    waiting = never_started(spec)
    if waiting:
        warnings.warn(
            f"this training never quantises: it ends after train.steps = {spec.train.steps}, before "
            f"{' and '.join(waiting)}; train longer, or lower that",
            Notice,
            stacklevel=2,
        )


@contextmanager
def _mirrored(run: RunDirectory, backup: Path | None) -> Iterator[Callable[[], None]]:
    """What to call after each checkpoint."""
    if backup is None:
        yield lambda: None
        return
    with Backup(run, backup) as mirror:
        yield mirror.take


@contextmanager
def _no_run_of_a_mistake(run: RunDirectory, resume: bool) -> Iterator[None]:
    """Leave the folder free for the mended configuration where the engine refused this one."""
    try:
        yield
    except (ConfigError, WeightsError):
        if not resume:
            run.config.unlink()
        raise


def _change_engine(run: RunDirectory, spec: RunSpec) -> None:
    """Let another engine continue what one began."""
    before = run.spec() if run.config.is_file() else spec
    if before.engine not in (spec.engine, "jax"):  # what jax resumes from is what every engine reads
        get_engine(before.engine).hand_over(run, before, int(run.read_manifest()["in_channels"]))


def finish(run: RunDirectory, spec: RunSpec, data: PreparedData) -> None:
    """Store what compression needs beside the weights: normalizer and token statistics."""
    codec = get_engine(spec.engine).load(spec, data.in_channels, run.weights, spec.train.device)
    smallest = (data.in_channels, *spec.codec.stride)
    tokens = token_statistics(codec, data.train, smallest, spec.codec.trellis_states)
    run.write_statistics({**data.normalizer.to_arrays(), **tokens})
    run.update_manifest(fingerprint=run.fingerprint(), codebook_sizes=list(codec.codebook_sizes))


def _finish_best(run: RunDirectory, spec: RunSpec, data: PreparedData, training: dict[str, Any]) -> None:
    """Make a run of the best weights by a metric of `train.keep_best`."""
    kept = run.best(training["best"]["metric"])
    kept.create(spec)
    shared = {name: entry for name, entry in run.read_manifest().items() if name in _OF_ALL_WEIGHTS}
    kept.write_manifest({**shared, "best_of": run.fingerprint(), "training": training})
    finish(kept, spec, data)


def _report(run: RunDirectory, spec: RunSpec, result: TrainingResult) -> None:
    best = result.bests[spec.train.best.metric]
    console.print(
        f"[bold]{run.path}[/bold]: best {spec.train.best.metric} {best['value']:.4g} at step {best['step']}, "
        f"{result.steps} steps, waiting for data {result.data_wait:.1%} of the time"
    )
    for metric in spec.train.keep_best:
        best, path = result.bests[metric], run.best(metric).path
        console.print(f"[bold]{path}[/bold]: best {metric} {best['value']:.4g} at step {best['step']}")
    console.print(f"next: anycodec evaluate {shlex.quote(str(run.path))}")


def _provenance(spec: RunSpec, data: PreparedData) -> dict[str, Any]:
    return {
        **provenance(spec, data.in_channels),
        "data": {
            "fingerprint": data.fingerprint,
            "counts": dict(data.counts),
            "skipped": [[s.path, s.reason] for s in data.skipped],
        },
    }


def _summary(result: TrainingResult, metric: str) -> dict[str, Any]:
    """How a training ended, with the metric that chose the weights."""
    return outcome(result, {"metric": metric, **result.bests[metric]}, "samples_per_second")


def _announce(
    run: RunDirectory, spec: RunSpec, data: PreparedData, start: StartingWeights | None, quiet: bool
) -> None:
    if quiet:
        return
    console.print(
        f"run [bold]{run.path}[/bold]: {spec.codec.type} + {spec.codec.bottleneck} on {spec.data.root}"
    )
    console.print(
        "data: " + ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in data.counts.items())
    )
    if start is not None:
        console.print(f"codec from {start.codec}", markup=False)
        if spec.adversarial:
            console.print(f"discriminator: {start.discriminator or 'a new one'}", markup=False)
    for skipped in data.skipped[:5]:
        console.print(f"  left out: {skipped.path}: {skipped.reason}", style="yellow")
    if len(data.skipped) > 5:
        console.print(f"  ... {len(data.skipped) - 5} more, listed in manifest.json", style="yellow")
