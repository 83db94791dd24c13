"""Generated samples against real ones as sets: distributions, copies, forecasts, telling them apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from anycodec.config.evaluation import StudySpec
from anycodec.engine import Engine
from anycodec.metrics.augmentation import Closeness, Descriptor, Discrimination, SeriesScores, SetScores
from anycodec.metrics.classification import recall_by_class
from anycodec.metrics.distributions import distribution_distance
from anycodec.metrics.forecasting import LinearForecast
from anycodec.metrics.gait import descriptors
from anycodec.metrics.kernel import kernel_distance
from anycodec.metrics.memorisation import memorisation
from anycodec.metrics.neighbours import nearest, vectors
from anycodec.metrics.prdc import NEIGHBOURS, prdc
from anycodec.metrics.principal import PrincipalComponents
from anycodec.workflows.sample_sets import Parts, SampleSet, Scale

MOST = 1000
"""Samples of a set that distances are computed of."""
GENERATED, YARDSTICK = "generated", "real training"
Features = Callable[[SampleSet], NDArray[np.floating]]


def principal_features(train: SampleSet, scale: Scale) -> Features:
    """At most 64 principal components of the real training samples."""
    components = PrincipalComponents(scale(thinned(train, MOST).values))
    return lambda samples: components(scale(samples.values))


def set_scores(parts: Parts, features: Mapping[str, Features]) -> tuple[SetScores, ...]:
    """KID and prdc of generated samples against the real test samples, and of the real training samples.

    All sets are cut to one size: the figures depend on it.
    """
    size = min(len(parts.train), len(parts.test), len(parts.generated), MOST)
    if size <= NEIGHBOURS:
        return ()
    target = thinned(parts.test, size)
    found = []
    for name, look in features.items():
        theirs = look(target)
        for what, samples in ((GENERATED, parts.generated), (YARDSTICK, parts.train)):
            ours = look(thinned(samples, size))
            kernel, four = kernel_distance(theirs, ours), prdc(theirs, ours)
            found.append(
                SetScores(
                    samples=what,
                    features=name,
                    n=size,
                    kid=kernel.mean,
                    kid_deviation=kernel.deviation,
                    precision=four.precision,
                    recall=four.recall,
                    density=four.density,
                    coverage=four.coverage,
                )
            )
    return tuple(found)


def closeness(parts: Parts, look: Features) -> Closeness:
    """Whether generated samples repeat training samples."""
    found = memorisation(
        look(thinned(parts.generated, MOST)), look(parts.train), look(thinned(parts.test, MOST))
    )
    return Closeness(
        generated=found.generated, held_out=found.held_out, ratio=found.ratio, closer=found.closer
    )


def closest_pairs(parts: Parts, look: Features, count: int) -> list[tuple[int, int]]:
    """Rows (generated, training) of the generated samples that lie nearest to a training sample."""
    away, places = nearest(vectors(look(parts.generated)), vectors(look(parts.train)))
    return [(int(row), int(places[row])) for row in np.argsort(away)[:count]]


def walk_descriptors(parts: Parts) -> tuple[Descriptor, ...]:
    """Torso line, envelopes and cadence, by distribution."""
    target, ours, yardstick = (
        descriptors(thinned(part, MOST).values.mean(axis=1))
        for part in (parts.test, parts.generated, parts.train)
    )
    found = []
    for name, values in target.items():
        for what, others in ((GENERATED, ours[name]), (YARDSTICK, yardstick[name])):
            distance = distribution_distance(values, others)
            if distance is not None:
                found.append(
                    Descriptor(
                        name=name,
                        samples=what,
                        means=distance.mean,
                        wasserstein=distance.wasserstein,
                        kolmogorov=distance.kolmogorov,
                    )
                )
    return tuple(found)


def series_scores(parts: Parts, scale: Scale, horizon: int) -> SeriesScores:
    """Forecasts learned from generated series, tried on real ones (TSTR), and from real ones (TRTR)."""
    tests = scale(parts.test.values)
    tstr, trtr = (
        LinearForecast(scale(part.values), horizon).error(tests) for part in (parts.generated, parts.train)
    )
    return SeriesScores(horizon=horizon, tstr=tstr, trtr=trtr)


def discrimination(
    parts: Parts, scale: Scale, spec: StudySpec, engine: Engine, device: str
) -> Discrimination | None:
    """How well generated and real samples are told apart.

    A judge learns from one half of the generated samples and the real training samples, and is tested on the
    other half and the real test samples. None where there are too few.
    """
    train, test, generated = parts.train, parts.test, parts.generated

    def score(seed: int) -> float:
        order = np.random.default_rng(seed).permutation(len(generated))
        learned, unseen = (generated.take(half) for half in np.array_split(order, 2))
        size = min(len(learned), len(train))
        known = np.concatenate([learned.values[:size], thinned(train, size).values])
        labels = np.repeat(np.array([1, 0]), size)
        judge = engine.classifier(spec.classifier, scale(known), labels, 2, seed=seed, device=device)
        asked = np.concatenate([unseen.values, test.values])
        truth = np.r_[np.ones(len(unseen), np.int64), np.zeros(len(test), np.int64)]
        predicted = judge.probabilities(scale(asked)).argmax(axis=1)
        return abs(float(recall_by_class(predicted, truth, 2).mean()) - 0.5)

    if min(len(generated), len(train)) < 4:
        return None
    return Discrimination(scores=tuple(score(seed) for seed in range(spec.seeds)))


def thinned(samples: SampleSet, most: int) -> SampleSet:
    """At most so many samples, drawn once and for all, in their order."""
    if len(samples) <= most:
        return samples
    return samples.take(np.sort(np.random.default_rng(0).choice(len(samples), most, replace=False)))
