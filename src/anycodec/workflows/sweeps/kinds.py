"""Kinds of run that a sweep can train, and the figures that rank them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anycodec.config.features_run import FeaturesRunSpec
from anycodec.config.generation import GeneratorRunSpec
from anycodec.config.loader import load_any
from anycodec.config.loss import LossWindow
from anycodec.config.metrics import LPIPS, metric_misfit, metric_weights
from anycodec.config.run import RunSpec, window_shape
from anycodec.errors import ConfigError, UserError

Trained = RunSpec | GeneratorRunSpec | FeaturesRunSpec
_LOSS, _ACCURACY = "val/loss", "val/accuracy"


def load_trained(config: Path, overrides: Sequence[str] = (), *, check_paths: bool = True) -> Trained:
    """A configuration of one training.

    Raises:
        ConfigError: its mistakes, or it is of a kind that sweeps don't train.
    """
    kind, spec = load_any(config, overrides, check_paths=check_paths)
    if isinstance(spec, RunSpec | GeneratorRunSpec | FeaturesRunSpec):
        return spec
    how = "give configurations of a codec, a generator or features"
    raise ConfigError([UserError(f"a sweep does not train what has `{kind}`", where=str(config), how=how)])


def usual_metric(spec: Trained) -> str:
    """The column of metrics.csv by which a run is best."""
    match spec:
        case RunSpec():
            return spec.train.best.metric
        case GeneratorRunSpec():
            return _LOSS
        case FeaturesRunSpec():
            return _ACCURACY if spec.features.objective.type == "classifier" else _LOSS


def metric_mistake(spec: Trained, metric: str) -> UserError | None:
    """Why a run can't be ranked by a metric."""
    if not isinstance(spec, RunSpec):
        known = list(dict.fromkeys((_LOSS, usual_metric(spec))))
        how = f"use {' or '.join(known)}"
        what = f"a validation of this training has no {metric}"
        return None if metric in known else UserError(what, where="--metric", how=how)
    shape = window_shape(spec.data, spec.codec.axes)
    window = LossWindow(spec.codec.axes, shape, spec.data.normalizer.type)
    misfit = metric_misfit("metric", metric, window, len(spec.codec.codebook_sizes))
    if misfit:
        return UserError(misfit.what, where="--metric", how=misfit.how)
    trained = any(term.pretrained == metric_weights(metric) for term in spec.losses.values())
    if metric in LPIPS and not trained and metric not in spec.train.kept_metrics:
        how = f"add train.keep_best=[{metric}]"
        return UserError(f"the training does not measure {metric}", where="--metric", how=how)
    return None
