"""`anycodec train` of a prior: the tokens of a codec's training split -> run directory."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.prior import Prior
from anycodec.bitstream.prior_lanes import Grid
from anycodec.bitstream.prior_network import quantised
from anycodec.checkpoint import RunDirectory, write_arrays
from anycodec.config.data import VideoSource
from anycodec.config.kinds import PRIOR
from anycodec.config.prior import PriorRunSpec
from anycodec.data.catalog import Catalog
from anycodec.data.dataset import WindowDataset
from anycodec.data.loader import find_signals, in_channels
from anycodec.data.resample import open_at_rate
from anycodec.data.split import make_split
from anycodec.engine import PriorJob, PriorLevel, TrainingResult, get_engine
from anycodec.errors import DataError, RunError, UserError
from anycodec.workflows.console import out as console
from anycodec.workflows.differences import differences
from anycodec.workflows.logs import logging_to
from anycodec.workflows.native import describe_native
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.prior_contexts import contexts_of
from anycodec.workflows.prior_data import Examples, Series, series_of
from anycodec.workflows.prior_groups import groups_of
from anycodec.workflows.provenance import made_by, outcome

JUDGED_VALUES = 2**20
"""Scalar values of the validation split that are looked at."""
MOST_KEPT = 2**14
"""Windows whose normalizer's statistics a run keeps for its samples."""
LARGEST_CODEBOOK = 2**14
MOST_AXES = 3
MOST_PLACES = 64
"""Along an axis of a window; in longer ones all places are alike."""
_FREE_ON_RESUME = ("codec", "root", *(f"train.{key}" for key in (
    "steps", "val_every", "val_tokens", "checkpoint_every", "log_every", "device", "threads"
)))  # fmt: skip
"""How long a training goes on and how it is watched; where its codec and data lie."""


def train(spec: PriorRunSpec, run: RunDirectory, *, resume: bool, quiet: bool) -> TrainingResult:
    """Fit a prior into a run directory, from the configuration alone or continuing a run.

    Raises:
        UserError: a codec without tokens, or with too large codebooks.
        DataError: no usable data.
        RunError: no codec, or the folder holds another run, or can't be continued with these settings.
    """
    engine = get_engine("torch")
    pipeline = Pipeline.open(spec.codec, spec.train.device)
    _check_codec(pipeline)
    _check_folder(run, spec, pipeline, resume=resume)
    train_series, val_series, manifest, statistics = _data(spec, pipeline)
    run.create(spec)
    run.update_manifest(**manifest)
    run.write_statistics(statistics)
    sizes = pipeline.codec.codebook_sizes
    grids = [grid.shape[1:] for grid in train_series[0].grids]
    contexts = contexts_of(grids, spec.prior, in_time=isinstance(pipeline.source, VideoSource))
    examples = Examples(train_series, contexts, sizes)
    levels = tuple(
        _level(examples, contexts[number], number, grids[number], pipeline) for number in range(len(sizes))
    )

    def keep(arrays: Sequence[Mapping[str, NDArray[np.float32]]]) -> None:
        networks = zip(arrays, contexts, levels, strict=True)
        prior = Prior(
            codec=pipeline.fingerprint,
            codebook_sizes=sizes,
            grids=tuple(map(tuple, grids)),
            levels=tuple(quantised(real, context, level.groups) for real, context, level in networks),
        )
        write_arrays(run.weights, prior.arrays)

    job = PriorJob(
        spec=spec, levels=levels, train=examples, val=Examples(val_series, contexts, sizes), run=run,
        keep=keep, resume=resume, quiet=quiet,
    )  # fmt: skip
    if not quiet:
        tokens = sum(examples.count(level) for level in range(len(sizes)))
        console.print(f"run [bold]{run.path}[/bold]: a prior of {tokens:,} tokens of {spec.codec}")
    with logging_to(run.log):
        result = engine.train_prior(job)
    bests = {metric: dict(best) for metric, best in result.bests.items()}
    run.update_manifest(training=outcome(result, bests, "tokens_per_second"))
    if not quiet:
        codec, path = (shlex.quote(str(folder)) for folder in (spec.codec, run.path))
        console.print(f"next: anycodec compress {codec} FILES --prior {path}", markup=False)
    return result


def _check_codec(pipeline: Pipeline) -> None:
    pipeline.require_tokens()
    sizes = pipeline.codec.codebook_sizes
    if max(sizes) > LARGEST_CODEBOOK:
        raise UserError(
            f"a codebook of {max(sizes)} codes is too large for a prior, which takes {LARGEST_CODEBOOK}",
            where=str(pipeline.run.path),
            how="train a codec with several smaller codebooks (`type: residual` or `type: grouped`)",
        )
    if len(pipeline.windower.size) > MOST_AXES:
        raise UserError("tokens of more than three axes have no prior", where=str(pipeline.run.path))


def _check_folder(run: RunDirectory, spec: PriorRunSpec, pipeline: Pipeline, *, resume: bool) -> None:
    if not run.config.is_file():
        if resume and run.path.exists() and any(run.path.iterdir()):
            raise RunError("nothing to resume: the folder holds no run", where=str(run.path))
        return
    if not resume:
        raise RunError(
            "the folder already holds a run",
            where=str(run.path),
            how="continue it with --resume, choose another folder with --out, or remove it",
        )
    before, after = run.spec_of(PRIOR).model_dump(mode="json"), spec.model_dump(mode="json")
    changed = [
        f"{key} was {old}, now {new}"
        for key, (old, new) in differences(before, after).items()
        if not key.startswith(_FREE_ON_RESUME)
    ]
    if run.read_manifest().get("codec", {}).get("fingerprint") != pipeline.fingerprint:
        changed.append("the codec is another one, or has changed")
    if changed:
        raise RunError(
            "the run was started with other settings: " + "; ".join(changed[:6]),
            where=str(run.config),
            how="give the same settings, or start a new run with another --out",
        )


def _data(
    spec: PriorRunSpec, pipeline: Pipeline
) -> tuple[list[Series], list[Series], dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Tokens of the training and the validation split, the manifest, and statistics of training windows."""
    source = pipeline.source
    if spec.root is not None:
        source = source.model_copy(update={"root": spec.root})
    catalog = find_signals(source)
    _check_channels(in_channels(source, catalog), pipeline, str(source.root))
    split = make_split(catalog, source)
    if not split.val:
        raise DataError("the split leaves nothing for validation", where=str(source.root))

    def windows(pieces: Any) -> WindowDataset:
        return WindowDataset(
            pieces, source, pipeline.normalizer, open_at_rate, training=False, seed=pipeline.spec.seed,
            axes=pipeline.spec.codec.axes,
        )  # fmt: skip

    with closing(windows(split.train)) as training, closing(windows(split.val)) as judged:
        found = series_of(pipeline, training, spec.prior.values)
        val = series_of(pipeline, judged, min(JUDGED_VALUES, spec.prior.values))
        statistics = _statistics(training)
        native = describe_native(training.pieces[0], source)
    return found, val, _manifest(spec, pipeline, catalog, native), statistics


def _check_channels(found: int, pipeline: Pipeline, where: str) -> None:
    if found != pipeline.in_channels:
        raise DataError(
            f"the data has {found} channels, the codec was trained on {pipeline.in_channels}", where=where
        )


def _statistics(windows: WindowDataset) -> dict[str, NDArray[np.float32]]:
    """The normalizer's statistics of training windows, from which samples draw theirs: [n C] each."""
    items = np.linspace(0, len(windows) - 1, min(len(windows), MOST_KEPT)).round().astype(int)
    shift, scale = [], []
    for item in items.tolist():
        try:
            placed = windows.placed(item)
        except DataError:
            continue  # `series_of` has judged the data
        channels = placed.windows.shape[1]
        shift.append(np.broadcast_to(placed.affine.shift[:1], (1, channels)))
        scale.append(np.broadcast_to(placed.affine.scale[:1], (1, channels)))
    return {"shift": np.concatenate(shift), "scale": np.concatenate(scale)}


def _manifest(
    spec: PriorRunSpec, pipeline: Pipeline, catalog: Catalog, native: dict[str, Any]
) -> dict[str, Any]:
    codec = {"path": str(spec.codec.resolve()), "fingerprint": pipeline.fingerprint}
    counts = {"files": len(catalog.files), "signals": len(catalog.entries)}
    return {
        **made_by("torch"),
        "kind": "prior",
        "codec": codec,
        "native": native,
        "data": {"counts": counts},
    }


def _level(
    examples: Examples,
    contexts: Grid,
    number: int,
    grid: Sequence[int],
    pipeline: Pipeline,
) -> PriorLevel:
    counts, sizes = examples.codes(number), pipeline.codec.codebook_sizes
    sources = tuple(contexts[:, 0].tolist())
    return PriorLevel(
        sources=sources,
        sizes={source: sizes[source] for source in sorted(set(sources))},
        places=tuple(extent if extent <= MOST_PLACES else 1 for extent in grid),
        counts=counts,
        groups=groups_of(pipeline, counts, number),
    )
