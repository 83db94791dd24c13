"""What the entropy coder should know of a codec's tokens, from training windows.

In `statistics.safetensors`, for each level: `token_counts.L` [K]; and, where there are tokens enough,
`token_groups.L` [K], the group of each code, with `token_pairs.L` [G G], how often a group followed
another, or `token_pairs_coarser.L` [G' G], how often it occurred under a group of the level before. Tokens
that are samples on a trellis have `token_trellis.L` [1] instead: its states.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.context import TokenContext
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.engine import CodecRuntime, TrainingWindows, Windows
from anycodec.metrics.codebook import Counts, TokenCounts
from anycodec.metrics.kmeans import kmeans, nearest
from anycodec.types import Tokens

MOST_VALUES = 2**24
"""Scalar values of the training split that are looked at."""
CHUNK_VALUES = 2**18
"""Scalar values that are encoded in one call."""
MOST_GROUPS = 256
TOKENS_A_PAIR = 4
"""Training tokens for each pair of groups, at least."""
FEWEST_GROUPS = 4
LARGEST_GROUPED = 2**14
"""Codebooks above this are coded without context: to decode each code by itself takes too long."""
FEATURES = 64
"""Dimensions that a code's picture is projected to before it is compared with others."""
GROUPING_SAMPLES = 2**15

Grid = NDArray[np.int64]


def token_statistics(
    codec: CodecRuntime, windows: TrainingWindows, token_shape: tuple[int, ...], states: int | None = None
) -> dict[str, NDArray[np.int64]]:
    """Arrays for `statistics.safetensors`; none where the codec has no tokens.

    Args:
        codec: a trained codec.
        windows: the training split.
        token_shape: (C, *stride) of the smallest window.
        states: of the trellis that the tokens of a window follow, if any.
    """
    if not codec.codebook_sizes:
        return {}
    tokens = list(_encoded(codec, windows))
    counts = TokenCounts(codec.codebook_sizes)
    for batch in tokens:
        counts.update(batch)
    arrays = {f"token_counts.{level}": table for level, table in enumerate(counts.counts)}
    if states is not None:
        return arrays | {"token_trellis.0": np.array([states])}
    found: dict[int, Grid] = {}
    for level, table in enumerate(counts.counts):
        n_groups = _affordable_groups(table)
        if n_groups < FEWEST_GROUPS:
            continue
        features = code_features(codec, counts.counts, level, token_shape)
        groups = _group_codes(features, table, n_groups)
        if not groups.any():
            continue
        found[level] = groups
        grids = [batch.grids[level] for batch in tokens]
        arrays[f"token_groups.{level}"] = groups
        if level - 1 in found and grids[0].shape == tokens[0].grids[level - 1].shape:
            above = [batch.grids[level - 1] for batch in tokens]
            arrays[f"token_pairs_coarser.{level}"] = _pairs_across(above, found[level - 1], grids, groups)
        else:
            arrays[f"token_pairs.{level}"] = _pairs_along(grids, groups)
    return arrays


def token_coder(statistics: Mapping[str, NDArray[np.generic]], levels: int) -> AdaptiveCoder:
    """The entropy coder that a run's statistics describe."""

    def integers(name: str) -> Grid:
        return np.asarray(statistics[name], np.int64)

    contexts: dict[int, TokenContext] = {}
    for level in range(levels):
        if f"token_pairs_coarser.{level}" in statistics:
            contexts[level] = TokenContext(
                groups=integers(f"token_groups.{level}"),
                pairs=integers(f"token_pairs_coarser.{level}"),
                coarser=integers(f"token_groups.{level - 1}"),
            )
        elif f"token_pairs.{level}" in statistics:
            contexts[level] = TokenContext(
                groups=integers(f"token_groups.{level}"), pairs=integers(f"token_pairs.{level}")
            )
    trellises = {
        level: int(integers(f"token_trellis.{level}")[0])
        for level in range(levels)
        if f"token_trellis.{level}" in statistics
    }
    return AdaptiveCoder([integers(f"token_counts.{level}") for level in range(levels)], contexts, trellises)


def _encoded(codec: CodecRuntime, windows: TrainingWindows) -> Iterator[Tokens]:
    """Tokens of training windows, up to `MOST_VALUES` values."""
    pending: list[Windows] = []
    done = held = 0
    for index in windows.epoch_order(0):
        window = windows.item(0, int(index))
        pending.append(window)
        held += window.size
        if held >= CHUNK_VALUES or done + held >= MOST_VALUES:
            yield codec.encode(np.concatenate(pending))
            pending, done, held = [], done + held, 0
        if done >= MOST_VALUES:
            return
    if pending:
        yield codec.encode(np.concatenate(pending))


def _affordable_groups(counts: Counts) -> int:
    """Number of groups G: a power of two up to K whose G^2 pairs training fills on average."""
    tokens, size = int(counts.sum()), len(counts)
    if size > LARGEST_GROUPED or not tokens:
        return 0
    most = min(MOST_GROUPS, size, math.isqrt(tokens // TOKENS_A_PAIR))
    return 1 << max(0, most.bit_length() - 1)


def code_features(
    codec: CodecRuntime, counts: Sequence[Counts], level: int, token_shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """[K d]: what each code of a level decodes to by itself, the other levels at their commonest codes."""
    smallest = codec.encode(np.zeros((1, *token_shape), np.float32))
    size = codec.codebook_sizes[level]
    projection = _projection(codec.decode(smallest).size)
    parts = []
    step = max(1, CHUNK_VALUES // math.prod(token_shape))
    for start in range(0, size, step):
        codes = np.arange(start, min(start + step, size))
        grids = [np.full((len(codes), *grid.shape[1:]), counts[i].argmax())
                 for i, grid in enumerate(smallest.grids)]  # fmt: skip
        grids[level] = np.broadcast_to(
            codes.reshape(-1, *[1] * (grids[level].ndim - 1)), grids[level].shape
        ).astype(np.int64)
        pictures = codec.decode(Tokens(tuple(grids), codec.codebook_sizes)).reshape(len(codes), -1)
        parts.append(pictures @ projection)
    return np.concatenate(parts)


def _projection(size: int) -> NDArray[np.float32]:
    """To few dimensions at random, which keeps distances (Johnson and Lindenstrauss 1984)."""
    if size <= FEATURES:
        return np.eye(size, dtype=np.float32)
    return np.random.default_rng(0).normal(size=(size, FEATURES)).astype(np.float32) / np.float32(
        FEATURES**0.5
    )


def _group_codes(features: NDArray[np.float32], counts: Counts, n_groups: int) -> Grid:
    """Group [K] of each code: k-means of features [K d], weighted by use; no group is empty."""
    rng = np.random.default_rng(0)
    samples = features[rng.choice(len(counts), GROUPING_SAMPLES, p=counts / counts.sum())]
    labels, _ = nearest(features, kmeans(samples, n_groups, rng))
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _pairs_along(grids: Sequence[Grid], groups: Grid) -> Grid:
    """[G G]: how often a group follows another, in raster order within a window."""
    n = int(groups.max()) + 1
    pairs = np.zeros(n * n, np.int64)
    for grid in grids:
        found = groups[grid.reshape(len(grid), -1)]
        pairs += np.bincount((found[:, :-1] * n + found[:, 1:]).ravel(), minlength=n * n)
    return pairs.reshape(n, n)


def _pairs_across(above: Sequence[Grid], contexts: Grid, grids: Sequence[Grid], groups: Grid) -> Grid:
    """[H G]: how often a group occurs under a context of the level above at the same place."""
    rows, n = int(contexts.max()) + 1, int(groups.max()) + 1
    pairs = np.zeros(rows * n, np.int64)
    for coarse, grid in zip(above, grids, strict=True):
        pairs += np.bincount((contexts[coarse] * n + groups[grid]).ravel(), minlength=rows * n)
    return pairs.reshape(rows, n)
