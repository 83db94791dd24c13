"""The design of the study: who is trained on what, and what decides about generated samples."""

import json
from collections import Counter

import numpy as np
import pytest

from anycodec.config.evaluation import StudySpec
from anycodec.errors import DataError
from anycodec.metrics.augmentation import (
    CLASSICAL,
    REAL,
    TRTR,
    TRTS,
    TSTR,
    Arm,
    GenerationResult,
    synthetic_arm,
)
from anycodec.workflows.sample_filter import kept_count, kept_rows
from anycodec.workflows.sample_sets import Parts, SampleSet, Scale, check_classes
from anycodec.workflows.study import Study, first_of_each, spectra

RNG = np.random.default_rng(0)


def samples(part: int, count: int, n_classes: int = 2) -> SampleSet:
    """`count` samples a class; the first value of each tells it from all others: 1000 part + number."""
    labels = np.repeat(np.arange(n_classes), count)
    values = RNG.normal(labels[:, None, None], 0.1, size=(len(labels), 1, 8)).astype(np.float32)
    values[:, 0, 0] = 1000 * part + np.arange(len(labels))
    return SampleSet(values, labels, tuple(f"{part}-{i}" for i in range(len(labels))))


class NearestMean:
    """A classifier by class means, as an engine trains one."""

    def __init__(self, windows, labels, n_classes):
        flat = windows[:, :, 1:].reshape(len(windows), -1)
        self.means = np.stack([flat[labels == k].mean(axis=0) for k in range(n_classes)])

    def features(self, windows):
        return windows[:, :, 1:].reshape(len(windows), -1).astype(np.float32)

    def probabilities(self, windows):
        away = np.square(self.features(windows)[:, None] - self.means).sum(axis=2)
        return (np.exp(-away) / np.exp(-away).sum(axis=1, keepdims=True)).astype(np.float32)


class Recorder:
    """An engine that remembers what it was asked to train on."""

    def __init__(self):
        self.calls = []

    def classifier(self, spec, windows, labels, n_classes, *, classical=None, seed=0, device="auto"):
        self.calls.append({"windows": windows, "steps": spec.steps, "classical": classical, "seed": seed})
        return NearestMean(windows, labels, n_classes)


@pytest.fixture(scope="module")
def studied():
    parts = Parts(samples(0, 20), samples(1, 10), samples(2, 40), 2)
    engine, ticks = Recorder(), []
    study = Study(parts, StudySpec(seeds=2), engine, "cpu", lambda: ticks.append(1))
    arms = study.run([2, 5], [1, 4])
    numbers = [
        np.rint(call["windows"][:, 0, 0] * study.scale.deviation.item() + study.scale.mean.item()).astype(int)
        for call in engine.calls
    ]
    return study, arms, engine.calls, numbers, ticks


def of(numbers, part):
    return sorted(n for n in numbers.tolist() if n // 1000 == part)


def test_arms_of_a_seed_share_their_real_samples_and_budgets_are_nested(studied):
    _, _, calls, numbers, _ = studied
    trained = [(call["seed"], of(found, 0)) for call, found in zip(calls, numbers, strict=True)]
    for seed in (0, 1):
        sets = {tuple(real) for at, real in trained if at == seed and 0 < len(real) < 40}
        small, large = sorted(sets, key=len)
        assert (len(small), len(large)) == (4, 10)
        assert set(small) < set(large)
    assert trained[0][1] != next(real for seed, real in trained if seed == 1)


def test_no_classifier_ever_learns_from_test_samples(studied):
    _, _, _, numbers, _ = studied
    assert all(not of(found, 1) for found in numbers)


def test_multiples_count_generated_samples_for_each_real_one(studied):
    _, _, calls, numbers, _ = studied
    pairs = Counter(
        (len(of(found, 0)), len(of(found, 2)), call["classical"] is not None)
        for call, found in zip(calls, numbers, strict=True)
    )
    per_seed = {
        (4, 0, False): 1, (4, 0, True): 1, (4, 4, False): 1, (4, 16, False): 1, (4, 16, True): 1,
        (10, 0, False): 1, (10, 0, True): 1, (10, 10, False): 1, (10, 40, False): 1, (10, 40, True): 1,
        (40, 0, False): 1, (0, 80, False): 1,
    }  # fmt: skip
    assert pairs == {key: 2 * count for key, count in per_seed.items()}


def test_all_trainings_take_equally_many_steps(studied):
    study, _, calls, _, ticks = studied
    assert {call["steps"] for call in calls} == {300}
    assert len(calls) == len(ticks) == study.steps([2, 5], [1, 4])


def test_arms_are_named_and_hold_an_accuracy_a_seed(studied):
    _, arms, _, _, _ = studied
    cnn = [arm for arm in arms if arm.classifier == "cnn"]
    names = [REAL, CLASSICAL, synthetic_arm(1), synthetic_arm(4), synthetic_arm(4, classical=True)]
    assert [arm.name for arm in cnn if arm.budget == 2] == names
    assert {arm.name for arm in cnn if arm.budget is None} == {TRTR, TSTR, TRTS}
    assert all(len(arm.accuracies) == 2 for arm in cnn)
    assert all(arm.accuracies == (1, 1) and arm.recalls == (1, 1) for arm in cnn)  # classes lie far apart


def test_the_filter_keeps_what_the_judge_is_sure_of_in_each_class():
    real, generated = samples(0, 6), samples(2, 6)
    generated.values[[0, 1, 7], :, 1:] += np.array([3.0, -0.9, -3.0])[
        :, None, None
    ]  # 0 and 7 look like the other
    judge, scale = NearestMean(real.values, real.labels, 2), Scale(np.zeros(1), np.ones(1))
    rows = kept_rows(StudySpec(filter="confidence", keep=0.5), generated, real, judge, scale)
    assert np.bincount(generated.labels[rows]).tolist() == [3, 3]
    assert not {0, 7} & set(rows)
    dense = kept_rows(StudySpec(filter="density", keep=0.5), generated, real, judge, scale)
    assert not {0, 7} & set(dense)
    assert kept_rows(StudySpec(), generated, real, judge, scale).tolist() == list(range(12))
    assert [kept_count(n, 0.5) for n in (1, 2, 9)] == [1, 1, 4]


def test_first_of_each_class():
    labels = np.array([0, 1, 0, 1, 0])
    assert first_of_each(labels, 2, None).tolist() == [0, 2, 1, 3]
    drawn = first_of_each(labels, 2, np.random.default_rng(3))
    assert sorted(labels[drawn]) == [0, 0, 1, 1]


def test_spectra_do_not_change_with_a_shift_in_time():
    x = RNG.normal(size=(2, 1, 4, 16)).astype(np.float32)
    np.testing.assert_allclose(spectra(np.roll(x, 5, axis=-1)), spectra(x), atol=1e-4)
    assert spectra(x).shape == (2, 4 * 9)


def test_classes_of_too_few_samples_are_named():
    with pytest.raises(DataError, match="walker has 1"):
        check_classes(samples(0, 2).take(np.array([0, 1, 2])), ["runner", "walker"], "training part", 2)


def result(**arms: tuple[float, ...]) -> GenerationResult:
    return GenerationResult(
        title="", real="", synthetic="", classes=("a", "b"), counts={}, settings={}, split="", saw=None,
        arms=tuple(
            Arm(classifier="cnn", name=name, budget=5, accuracies=shares, recalls=(0.5, None))
            for name, shares in arms.items()
        ),
    )  # fmt: skip


def test_gains_are_of_pairs_of_seeds_over_the_better_baseline():
    arms = {REAL: (0.5, 0.7, 0.6), CLASSICAL: (0.4, 0.7, 0.6), synthetic_arm(1): (0.55, 0.76, 0.64)}
    found = result(**arms)
    assert found.baseline(5) is found.arms[0]
    gain = found.gain(found.arms[2])
    # differences .05, .06, .04: mean .05, deviation .01, t(2) at .975 = 4.302653
    assert gain.mean == pytest.approx(0.05)
    assert gain.half == pytest.approx(4.302653 * 0.01 / np.sqrt(3), rel=1e-5)
    assert found.gain(found.arms[0]) is None
    assert result(**{synthetic_arm(1): (0.5,)}).baseline(5) is None
    better = result(**{REAL: (0.5,), CLASSICAL: (0.6,)})
    assert better.baseline(5) is better.arms[1]


def test_json_has_no_numbers_that_are_none():
    found = json.loads(result(real=(float("nan"), np.float32(0.25))).to_json())
    assert found["arms"][0]["accuracies"] == [None, 0.25]
