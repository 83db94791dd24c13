"""The result of an augmentation study as data: `augmentation.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from anycodec.metrics.interval import Interval, t_interval

REAL, CLASSICAL, TRTR, TSTR, TRTS = "real", "real + classical", "TRTR", "TSTR", "TRTS"
"""Names of arms: what a classifier was trained on. TXTY: trained on X, tested on Y, R real, S synthetic."""


def synthetic_arm(multiple: int, *, classical: bool = False) -> str:
    """Name of the arm with `multiple` generated samples for each real one."""
    return f"real + {multiple}x generated" + (" + classical" if classical else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """How classifiers did that were trained on one kind of data.

    Attributes:
        classifier: "cnn" or "lda".
        name: what they were trained on.
        budget: real samples a class, None = all of the training part.
        accuracies: share of test samples, a seed each.
        recalls: share of each class's test samples, mean over seeds; None of a class without any.
    """

    classifier: str
    name: str
    budget: int | None
    accuracies: tuple[float, ...]
    recalls: tuple[float | None, ...]

    @property
    def interval(self) -> Interval:
        return t_interval(self.accuracies)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetScores:
    """How near a set of samples is to the real test samples.

    Attributes:
        samples: what the set is: "generated", or "real training" as the yardstick.
        features: in which features.
        n: samples of either set.
        kid, kid_deviation: squared maximum mean discrepancy; 0 = the same distribution.
        precision, recall, density, coverage: see `anycodec.metrics.prdc`.
    """

    samples: str
    features: str
    n: int
    kid: float
    kid_deviation: float
    precision: float
    recall: float
    density: float
    coverage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A physical descriptor's distribution against that of the real test samples.

    Attributes:
        name: see `anycodec.metrics.gait.DESCRIPTORS`.
        samples: "generated", or "real training" as the yardstick.
        means: of the real test samples and of these.
        wasserstein: in the descriptor's unit.
        kolmogorov: 0 .. 1.
    """

    name: str
    samples: str
    means: tuple[float, float]
    wasserstein: float
    kolmogorov: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesScores:
    """What only series have.

    Attributes:
        horizon: samples forecast, the last of each window.
        tstr, trtr: mean absolute error on real test windows of a linear forecast fitted on generated and on
            real ones, in deviations of the real training data.
    """

    horizon: int
    tstr: float
    trtr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrimination:
    """How well a classifier tells generated from real samples that it hasn't seen (Yoon et al. 2019).

    Attributes:
        scores: |accuracy - 1/2|, both kinds counting alike, a seed each: 0 = not at all, .5 = always.
    """

    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Closeness:
    """See `anycodec.metrics.memorisation.Memorisation`."""

    generated: float
    held_out: float
    ratio: float
    closer: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """Everything that was measured.

    Attributes:
        title: of the report.
        real, synthetic: the folders.
        classes: names.
        counts: samples by part: train, val, test, generated.
        settings: of the study, as JSON.
        split: which split, in words.
        saw: real samples a class that the generator was trained on, None = not known.
        arms: classifiers; () without classes.
        sets, descriptors: distributions.
        discrimination: None where it was not asked for.
        memorisation: generated against training samples.
        series: None for pictures.
        notes: what was left out, and why.
    """

    title: str
    real: str
    synthetic: str
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    settings: Mapping[str, Any]
    split: str
    saw: int | None
    arms: tuple[Arm, ...] = ()
    sets: tuple[SetScores, ...] = ()
    descriptors: tuple[Descriptor, ...] = ()
    discrimination: Discrimination | None = None
    memorisation: Closeness | None = None
    series: SeriesScores | None = None
    notes: tuple[str, ...] = field(default=())

    def arm(self, name: str, budget: int | None, classifier: str = "cnn") -> Arm | None:
        """One of the arms; None where it wasn't measured."""
        wanted = (classifier, name, budget)
        return next((arm for arm in self.arms if (arm.classifier, arm.name, arm.budget) == wanted), None)

    def baseline(self, budget: int | None, classifier: str = "cnn") -> Arm | None:
        """What generated samples must beat: the better of real alone and real + classical at a budget."""
        arms = (self.arm(name, budget, classifier) for name in (REAL, CLASSICAL))
        return max((arm for arm in arms if arm is not None), key=lambda arm: arm.interval.mean, default=None)

    def gain(self, arm: Arm) -> Interval | None:
        """How much more accurate an arm with generated samples is than the baseline at its budget.

        By seeds: both use the same real samples there, so what these are worth cancels.
        """
        other = self.baseline(arm.budget, arm.classifier)
        if other is None or arm.name in (REAL, CLASSICAL):
            return None
        return t_interval(
            [ours - theirs for ours, theirs in zip(arm.accuracies, other.accuracies, strict=True)]
        )

    def to_json(self) -> str:
        """As text; what is no number is null."""
        return json.dumps(_plain(asdict(self)), indent=1) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
