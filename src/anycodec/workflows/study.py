"""Classifiers trained on real, augmented and generated samples, all tested on the same real ones.

Fair by design: the arms of a seed share their real samples, the smaller budgets are part of the larger ones,
every training takes equally many steps, and nothing is chosen by what test samples say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from anycodec.config.evaluation import StudySpec
from anycodec.engine import Classifier, Engine, Windows
from anycodec.metrics.augmentation import CLASSICAL, REAL, TRTR, TRTS, TSTR, Arm, synthetic_arm
from anycodec.metrics.classification import LinearDiscriminant, accuracy, recall_by_class
from anycodec.workflows.sample_filter import kept_rows
from anycodec.workflows.sample_sets import Parts, SampleSet, Scale

Step = Callable[[], None]
"""Called after each classifier."""


class Study:
    """Trains the classifiers.

    Args:
        parts: what they are trained on and tested with.
        spec: the settings.
        engine: what trains them.
        device: where.
        step: called after each.
    """

    def __init__(self, parts: Parts, spec: StudySpec, engine: Engine, device: str, step: Step) -> None:
        self._parts, self._spec, self._engine, self._device, self._step = parts, spec, engine, device, step
        self.scale = Scale.of(parts.train)
        self._results: dict[tuple[str, str, int | None], list[tuple[float, NDArray[np.float64]]]] = {}

    def run(self, budgets: Sequence[int], multiples: Sequence[int]) -> tuple[Arm, ...]:
        """All arms, in the order in which they are shown.

        Args:
            budgets: those that the real data has samples for.
            multiples: those that the generated data has samples for, at the largest budget and filtered.
        """
        for seed in range(self._spec.seeds):
            for budget in budgets:
                self._at_budget(budget, multiples, seed)
            self._whole(seed)
        return tuple(self._arm(key, runs) for key, runs in self._results.items())

    def judge(self, seed: int = 0) -> Classifier:
        """A classifier of all real training samples, whose features know nothing of generated ones."""
        return self._train(self._parts.train, seed, classical=False)

    def steps(self, budgets: Sequence[int], multiples: Sequence[int]) -> int:
        """Classifiers that `run` trains."""
        return self._spec.seeds * (len(budgets) * (3 + len(multiples)) + 2)

    def _at_budget(self, budget: int, multiples: Sequence[int], seed: int) -> None:
        order = np.random.default_rng((seed, 0))
        real = self._parts.train.take(first_of_each(self._parts.train.labels, budget, order))
        alone = self._train(real, seed, classical=False)
        self._test(alone, REAL, budget)
        self._test_linear(real, REAL, budget)
        self._test(self._train(real, seed, classical=True), CLASSICAL, budget)
        pool = self._pool(alone, real, seed)
        for multiple in multiples:
            mixed = real.joined(pool.take(first_of_each(pool.labels, multiple * budget, None)))
            self._test(self._train(mixed, seed, classical=False), synthetic_arm(multiple), budget)
            self._test_linear(mixed, synthetic_arm(multiple), budget)
        both = synthetic_arm(multiples[-1], classical=True)
        self._test(self._train(mixed, seed, classical=True), both, budget)

    def _pool(self, classifier: Classifier, real: SampleSet, seed: int) -> SampleSet:
        """The generated samples in this seed's order, less those that the filter removes.

        The filter knows the budget's real samples and the classifier trained on them, nothing else.
        """
        generated = self._parts.generated
        order = np.random.default_rng((seed, 1)).permutation(len(generated))
        mixed = generated.take(order)
        rows = kept_rows(self._spec, mixed, real, classifier, self.scale)
        return mixed.take(rows)

    def _whole(self, seed: int) -> None:
        """All real training samples, and all generated ones alone."""
        train, generated = self._parts.train, self._parts.generated
        on_real = self._train(train, seed, classical=False)
        self._test(on_real, TRTR, None)
        self._test(on_real, TRTS, None, generated)
        self._test(self._train(generated, seed, classical=False), TSTR, None)
        if seed == 0:
            self._test_linear(train, TRTR, None)
            self._test_linear(train, TRTS, None, generated)
            self._test_linear(generated, TSTR, None)

    def _train(self, samples: SampleSet, seed: int, *, classical: bool) -> Classifier:
        found = self._engine.classifier(
            self._spec.classifier,
            self.scale(samples.values),
            samples.labels,
            self._parts.n_classes,
            classical=self._spec.classical if classical else None,
            seed=seed,
            device=self._device,
        )
        self._step()
        return found

    def _test(
        self, classifier: Classifier, arm: str, budget: int | None, on: SampleSet | None = None
    ) -> None:
        samples = on or self._parts.test
        predicted = classifier.probabilities(self.scale(samples.values)).argmax(axis=1)
        self._store(("cnn", arm, budget), predicted, samples)

    def _test_linear(
        self, train: SampleSet, arm: str, budget: int | None, on: SampleSet | None = None
    ) -> None:
        """A classifier of another kind: LDA on |FFT along time|, which no time shift changes."""
        samples = on or self._parts.test
        model = LinearDiscriminant(spectra(train.values), train.labels, self._parts.n_classes)
        self._store(("lda", arm, budget), model.predict(spectra(samples.values)), samples)

    def _store(self, key: tuple[str, str, int | None], predicted: NDArray[np.int64], on: SampleSet) -> None:
        recalls = recall_by_class(predicted, on.labels, self._parts.n_classes)
        self._results.setdefault(key, []).append((accuracy(predicted, on.labels), recalls))

    @staticmethod
    def _arm(key: tuple[str, str, int | None], runs: Sequence[tuple[float, NDArray[np.float64]]]) -> Arm:
        recalls = np.mean([recall for _, recall in runs], axis=0)
        return Arm(
            classifier=key[0],
            name=key[1],
            budget=key[2],
            accuracies=tuple(share for share, _ in runs),
            recalls=tuple(None if np.isnan(share) else float(share) for share in recalls),
        )


def spectra(values: Windows) -> NDArray[np.float32]:
    """|FFT along time| of samples [N C *s], flattened [N D]."""
    magnitudes = np.abs(np.fft.rfft(values, axis=-1)).astype(np.float32)
    return magnitudes.reshape(len(values), -1)


def first_of_each(
    labels: NDArray[np.int64], count: int, order: np.random.Generator | None
) -> NDArray[np.int64]:
    """Rows of `count` samples of each class: the first ones, after a shuffle where `order` is given."""
    rows = np.arange(len(labels)) if order is None else order.permutation(len(labels))
    chosen = [rows[labels[rows] == label][:count] for label in np.unique(labels)]
    return np.concatenate(chosen)
