"""k-means in NumPy: blocked BLAS distances, D^2 seeding, re-seeding of empty clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

BLOCK = 1 << 20
"""Distances, and values of samples, held at a time: 4 MiB of float32, which stays in the cache."""
SEEDING_ROUNDS = 64
STAGES = (16, 64, 128)
"""Samples a code: Lloyd's iterations run on a small subset first (Bottou and Bengio 1995)."""
WORK = 1 << 32
"""Distances of up to about 16 dimensions computed a stage, some 4 s on one core."""
ITERATIONS = (3, 100)
"""Fewest and most iterations a stage."""
TOLERANCE = 1e-4
"""Relative gain of an iteration below which a stage ends."""
SMALL = 1 << 14
"""Samples of the first stage at least; few codes get more samples each for the same time."""


def kmeans(samples: Floats, n_codes: int, rng: np.random.Generator) -> Floats:
    """Codes [K, D] that minimise the mean squared distance of samples [n, D] to their nearest code.

    Lloyd's iterations on growing random subsets. With fewer samples than codes, the samples
    themselves fill the front of the codebook and repeat.
    """
    if len(samples) <= n_codes:
        return np.resize(samples, (n_codes, samples.shape[1])).astype(np.float32)
    shuffled = samples[rng.permutation(len(samples))[: _stage_size(STAGES[-1], n_codes)]]
    codes = _seed(shuffled[: _stage_size(STAGES[0], n_codes)], n_codes, rng)
    for per_code in STAGES:
        subset = shuffled[: _stage_size(per_code, n_codes)]
        codes = _iterate(subset, codes, rng)
        if len(subset) == len(shuffled):
            break
    return codes


def nearest(samples: Floats, codes: Floats) -> tuple[Indices, Floats]:
    """Index of the nearest code [n] and the squared distance to it [n]."""
    # |x - c|^2 = |x|^2 - 2 (x c - |c|^2 / 2): one product with a column of ones holds the bracket
    extended = np.concatenate([codes, -0.5 * np.square(codes).sum(axis=1, keepdims=True)], axis=1).T
    extended = np.ascontiguousarray(extended, dtype=np.float32)
    indices = np.empty(len(samples), dtype=np.int64)
    best = np.empty(len(samples), dtype=np.float32)
    rows = max(1, min(BLOCK // max(extended.shape), len(samples)))
    block = np.ones((rows, samples.shape[1] + 1), dtype=np.float32)
    for start in range(0, len(samples), rows):
        part = samples[start : start + rows]
        block[: len(part), :-1] = part
        scores = block[: len(part)] @ extended
        chosen = scores.argmax(axis=1)
        indices[start : start + rows] = chosen
        best[start : start + rows] = np.take_along_axis(scores, chosen[:, None], axis=1)[:, 0]
    squared = np.einsum("nd,nd->n", samples, samples) - 2 * best
    return indices, np.maximum(squared, 0)


def _stage_size(per_code: int, n_codes: int) -> int:
    return max(per_code * n_codes, SMALL * per_code // STAGES[0])


def _seed(samples: Floats, n_codes: int, rng: np.random.Generator) -> Floats:
    """D^2 sampling (Arthur 2007), several codes a round where there are many (Bahmani 2012)."""
    codes = samples[rng.integers(len(samples), size=1)]
    _, distance = nearest(samples, codes)
    per_round = -(-n_codes // SEEDING_ROUNDS)
    while len(codes) < n_codes:
        size = min(per_round, n_codes - len(codes))
        added = samples[_draw(distance, size, rng)]
        codes = np.concatenate([codes, added])
        distance = np.minimum(distance, nearest(samples, added)[1])
    return codes


def _iterate(samples: Floats, codes: Floats, rng: np.random.Generator) -> Floats:
    fewest, most = ITERATIONS
    before = np.inf
    cost = len(samples) * len(codes) * max(1, samples.shape[1] // 16)
    for _ in range(min(most, max(fewest, WORK // cost))):
        codes, distortion = _lloyd(samples, codes, rng)
        if before - distortion <= TOLERANCE * distortion:
            break
        before = distortion
    return codes


def _lloyd(samples: Floats, codes: Floats, rng: np.random.Generator) -> tuple[Floats, float]:
    """Assign, average, move empty clusters to samples far from their code; the old distortion."""
    indices, distance = nearest(samples, codes)
    counts = np.bincount(indices, minlength=len(codes))
    sums = np.stack([np.bincount(indices, column, len(codes)) for column in samples.T], axis=1)
    moved = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
    empty = np.flatnonzero(counts == 0)
    moved[empty] = samples[_draw(distance, len(empty), rng)]
    return moved, float(distance.mean(dtype=np.float64))


def _draw(weights: Floats, size: int, rng: np.random.Generator) -> Indices:
    """Indices with probability proportional to the weights, evenly where all are zero."""
    total = np.cumsum(weights, dtype=np.float64)
    if total[-1] <= 0:
        return rng.integers(len(weights), size=size)
    drawn: Indices = np.searchsorted(total, rng.random(size) * total[-1], side="right")
    return drawn.clip(max=len(weights) - 1)
