"""Codes that decode alike form a group, where there are too many to tell apart in one step."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.statistics import code_features

MOST_SINGLE = 256
"""Codes of a level up to which each is its own group."""


def groups_of(pipeline: Pipeline, counts: NDArray[np.int64], level: int) -> NDArray[np.int64] | None:
    """Group [K] of each code of a level, of equal size but for one code; None where each is its own.

    Args:
        pipeline: the codec.
        counts: how often each code occurs, [K].
        level: which.
    """
    size = len(counts)
    if size <= MOST_SINGLE:
        return None
    smallest = (pipeline.in_channels, *_largest(pipeline.spec.codec.token_strides))
    every = [np.ones(other, np.int64) for other in pipeline.codec.codebook_sizes]
    every[level] = counts
    features = code_features(pipeline.codec, every, level, smallest)
    n_groups = 1 << math.ceil(math.log2(2 * math.sqrt(size)))
    groups = np.zeros(size, np.int64)
    for number, codes in enumerate(_halved(features, np.arange(size), n_groups)):
        groups[codes] = number
    return groups


def _largest(strides: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    return tuple(max(steps) for steps in zip(*strides, strict=True))


def _halved(features: NDArray[np.float32], codes: NDArray[np.int64], parts: int) -> list[NDArray[np.int64]]:
    """Codes halved again and again along the axis of their largest variance."""
    if parts == 1:
        return [codes]
    own = features[codes].astype(np.float64)
    own -= own.mean(axis=0)
    _, vectors = np.linalg.eigh(own.T @ own)
    order = codes[np.argsort(own @ vectors[:, -1], kind="stable")]
    middle = (len(order) + 1) // 2
    return [half for side in (order[:middle], order[middle:]) for half in _halved(features, side, parts // 2)]
