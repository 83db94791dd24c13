"""Accuracy, recall a class, and a linear classifier that needs no training loop."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def accuracy(predicted: ArrayLike, labels: ArrayLike) -> float:
    """Share of samples [N] whose class was found."""
    return float((np.asarray(predicted) == np.asarray(labels)).mean())


def recall_by_class(predicted: ArrayLike, labels: ArrayLike, n_classes: int) -> Floats:
    """Share of each class's samples that were found [K]; NaN of a class without samples."""
    found, truth = np.asarray(predicted), np.asarray(labels)
    counts = np.bincount(truth, minlength=n_classes)
    hits = np.bincount(truth[found == truth], minlength=n_classes)
    shares: Floats = np.divide(hits, counts, out=np.full(n_classes, np.nan), where=counts > 0)
    return shares


class LinearDiscriminant:
    """Linear discriminant analysis with a shrunk common covariance.

    S = (1 - g) W + g tr(W)/D I with W the covariance within classes and g by Ledoit and Wolf (2004),
    so that it works with more features than samples. Solved in the span of the samples: D may be thousands.

    Args:
        x: features [N D].
        labels: [N], 0 .. n_classes - 1.
        n_classes: K.

    Raises:
        ValueError: a class without samples, or not a sample more than classes.
    """

    def __init__(self, x: ArrayLike, labels: ArrayLike, n_classes: int) -> None:
        values, classes = np.asarray(x, np.float64), np.asarray(labels)
        counts = np.bincount(classes, minlength=n_classes)
        if not counts.all() or len(values) <= n_classes:
            raise ValueError(f"{len(values)} samples of {np.count_nonzero(counts)} of {n_classes} classes")
        sums = np.zeros((n_classes, values.shape[1]))
        np.add.at(sums, classes, values)
        means = sums / counts[:, None]
        within = values - means[classes]
        solved = _solve_shrunk(within, means.T)
        self._weights = solved
        self._bias = -0.5 * np.einsum("kd,dk->k", means, solved)

    def predict(self, x: ArrayLike) -> Labels:
        """The likeliest class [N], all classes being as frequent."""
        scores = np.asarray(x, np.float64) @ self._weights + self._bias
        found: Labels = scores.argmax(axis=1).astype(np.int64)
        return found


def _solve_shrunk(centred: Floats, right: Floats) -> Floats:
    """S^-1 right, with S = a X^T X + b I the Ledoit-Wolf estimate of the covariance of `centred`, X [N D].

    With fewer samples than features an N x N problem: S^-1 = (I - X^T (X X^T + b/a I)^-1 X) / b (Woodbury).
    """
    a, b = _shrunk(centred)
    if a == 0:
        return right / b
    n, width = centred.shape
    if width <= n:
        return _solve(a * centred.T @ centred + b * np.eye(width), right)
    return (right - centred.T @ _solve(centred @ centred.T + b / a * np.eye(n), centred @ right)) / b


def _solve(matrix: Floats, right: Floats) -> Floats:
    solved: Floats = np.linalg.solve(matrix, right).astype(np.float64, copy=False)
    return solved


def _shrunk(centred: Floats) -> tuple[float, float]:
    """a and b of S = a X^T X + b I (Ledoit and Wolf 2004, "A well-conditioned estimator", eq. 14).

    With m = tr(W)/D, d^2 = |W|^2/D - m^2 and the sampling error e^2 of W: b = e^2/d^2 m, a = (1 - e^2/d^2)/N.
    """
    n, width = centred.shape
    lengths = np.einsum("nd,nd->n", centred, centred)
    gram = centred.T @ centred if width <= n else centred @ centred.T
    squared = float(np.square(gram).sum()) / n**2
    level = float(lengths.sum()) / n / width
    spread = squared / width - level**2
    error = (float(np.square(lengths).mean()) - squared) / (n * width)
    shrinkage = min(1.0, max(0.0, error / spread)) if spread > 0 else 1.0
    return (1 - shrinkage) / n, max(shrinkage * level, np.finfo(float).tiny ** 0.5)
