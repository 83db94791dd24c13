"""Which generated samples are worth using, judged by real training samples alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from anycodec.config.evaluation import StudySpec
from anycodec.engine import Classifier, Windows
from anycodec.metrics.prdc import NEIGHBOURS, sample_densities
from anycodec.workflows.sample_sets import SampleSet


def kept_rows(
    spec: StudySpec,
    generated: SampleSet,
    real: SampleSet,
    classifier: Classifier,
    scale: Callable[[Windows], Windows],
) -> NDArray[np.int64]:
    """Rows of the best `spec.keep` of each class's generated samples, in their order.

    Args:
        spec: how and which share. "confidence" goes by the classifier's probability of a sample's class,
            "density" by the number of real samples of its class within whose reach it lies, in the
            classifier's features.
        generated: what to choose from.
        real: the samples that the classifier was trained on.
        classifier: the judge.
        scale: to its unit.
    """
    if spec.filter == "none":
        return np.arange(len(generated))
    if spec.filter == "confidence":
        probabilities = classifier.probabilities(scale(generated.values))
        merit = probabilities[np.arange(len(generated)), generated.labels].astype(np.float64)
    else:
        merit = _densities(generated, real, classifier, scale)
    keep = np.zeros(len(generated), bool)
    for label in np.unique(generated.labels):
        rows = np.flatnonzero(generated.labels == label)
        best = rows[np.argsort(-merit[rows], kind="stable")]
        keep[best[: kept_count(len(rows), spec.keep)]] = True
    return np.flatnonzero(keep)


def kept_count(count: int, share: float) -> int:
    """How many of `count` samples are kept, at least one."""
    return max(1, int(count * share + 1e-9))


def _densities(
    generated: SampleSet, real: SampleSet, classifier: Classifier, scale: Callable[[Windows], Windows]
) -> NDArray[np.float64]:
    merit = np.zeros(len(generated))
    features = classifier.features(scale(generated.values))
    known = classifier.features(scale(real.values))
    for label in np.unique(generated.labels):
        ours, theirs = generated.labels == label, real.labels == label
        k = min(NEIGHBOURS, int(theirs.sum()) - 1)
        if k > 0:
            merit[ours] = sample_densities(known[theirs], features[ours], k)
    return merit
