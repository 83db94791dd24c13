"""The yardstick: k-means vector quantisation of raw patches, at the rate of a codec.

It sees the same normalised windows and pays the same side information. What a learned codec gains
over it is what the network has learned beyond a table of typical patches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anycodec.metrics.codebook import entropy
from anycodec.metrics.kmeans import kmeans, nearest

Windows = NDArray[np.float32]
Indices = NDArray[np.int64]
Shape = tuple[int, ...]

MAX_CODES = 6144
CANDIDATES = 2
"""Patch shapes tried for each way to treat the channels."""
HELD_OUT = 0.1
RATE_TOLERANCE = 0.01
RESIZES = 3
"""Codebooks fitted again to come nearer to the wanted rate."""
ENTROPY_TOKENS = 1 << 18
MAX_VALUES = 1 << 25
"""Values of the windows that a fit looks at: 128 MiB of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchKMeans:
    """A codebook of patches.

    Attributes:
        window_shape: (C, *s) of the windows.
        patch_shape: extent of a patch along C and *s: all channels of a few samples or pixels, or
            one channel (an extent of 1 along C) of several.
        codes: [K, prod(patch_shape)].
    """

    window_shape: Shape
    patch_shape: Shape
    codes: NDArray[np.float32]

    @classmethod
    def fit(cls, windows: Windows, patch_shape: Shape, codebook_size: int, seed: int) -> PatchKMeans:
        """Cut windows [N C *s] into patches and cluster them."""
        rng = np.random.default_rng(seed)
        codes = kmeans(cut_patches(windows, patch_shape), codebook_size, rng)
        return cls(window_shape=windows.shape[1:], patch_shape=patch_shape, codes=codes)

    @property
    def codebook_size(self) -> int:
        return len(self.codes)

    @property
    def grid(self) -> Shape:
        """Tokens of a window along C and each of *s; the last patch may reach over the end."""
        return _grid(self.window_shape, self.patch_shape)

    @property
    def tokens_per_value(self) -> float:
        return math.prod(self.grid) / math.prod(self.window_shape)

    @property
    def nominal(self) -> float:
        """Fixed-length rate, bits/value."""
        return math.log2(self.codebook_size) * self.tokens_per_value

    def entropy(self, tokens: Indices) -> float:
        """Empirical order-0 entropy of these tokens, bits/value."""
        return entropy(np.bincount(tokens.ravel(), minlength=self.codebook_size)) * self.tokens_per_value

    def encode(self, windows: Windows) -> Indices:
        """[N C *s] -> tokens [N *grid].

        Raises:
            ValueError: windows of another shape than those that were fitted.
        """
        if windows.shape[1:] != self.window_shape:
            raise ValueError(f"fitted on windows of {self.window_shape}, got {windows.shape[1:]}")
        indices, _ = nearest(cut_patches(windows, self.patch_shape), self.codes)
        return indices.reshape(len(windows), *self.grid)

    def decode(self, tokens: Indices) -> Windows:
        """Tokens [N *grid] -> [N C *s]."""
        return join_patches(self.codes[tokens], self.patch_shape, self.window_shape)

    def describe(self) -> str:
        """One line for reports."""
        channels, *extents = self.patch_shape
        frames = f"{extents.pop(0)} frames of " if len(extents) == 3 else ""
        extent = frames + " x ".join(map(str, extents))
        noun = "sample" if len(extents) == 1 else "pixel"
        plural = "" if math.prod(extents) == 1 else "s"
        across = f" x {channels} channels" if channels > 1 else ""
        return f"k-means VQ of raw patches, {extent} {noun}{plural}{across}, {self.codebook_size} codes"


def cut_patches(windows: Windows, patch_shape: Shape) -> NDArray[np.float32]:
    """[N C *s] -> [N * prod(grid), prod(patch_shape)]; ends are filled with the edge value."""
    n, *shape = windows.shape
    grid = _grid(shape, patch_shape)
    fill = [(0, g * p - s) for g, p, s in zip(grid, patch_shape, shape, strict=True)]
    padded = np.pad(windows, [(0, 0), *fill], mode="edge")
    split = padded.reshape(n, *_alternate(grid, patch_shape))
    d = len(grid)
    patches = split.transpose(0, *range(1, 2 * d, 2), *range(2, 2 * d + 1, 2))
    return np.ascontiguousarray(patches, dtype=np.float32).reshape(-1, math.prod(patch_shape))


def join_patches(patches: NDArray[np.float32], patch_shape: Shape, window_shape: Shape) -> Windows:
    """[N *grid, prod(patch_shape)] -> [N C *s], the inverse of `cut_patches`."""
    n, *grid = patches.shape[:-1]
    d = len(grid)
    split = patches.reshape(n, *grid, *patch_shape)
    alternating = split.transpose(0, *_alternate(range(1, d + 1), range(d + 1, 2 * d + 1)))
    joined = alternating.reshape(n, *(g * p for g, p in zip(grid, patch_shape, strict=True)))
    crop = (slice(None), *map(slice, window_shape))
    return joined[crop]


def equal_rate_patches(
    window_shape: Shape, bits_per_value: float, max_codes: int = MAX_CODES
) -> list[tuple[Shape, int]]:
    """Patch shapes and codebook sizes whose fixed-length rate is the given one.

    A longer patch at the same rate has more codes and serves the baseline better, as long as the
    training data can fill them; so candidates go from the longest patch with at most `max_codes`
    codes to shorter ones with about a quarter of the codes, each with all channels
    together and, where there are several, with one channel at a time.

    Args:
        window_shape: (C, *s) of the windows.
        bits_per_value: the codec's rate for tokens, without side information.
        max_codes: largest codebook.

    Returns:
        Where no patch can have that rate: the whole window with 2 codes, or one value with
        `max_codes`; their own rate tells that they are off.
    """
    found = [
        candidate
        for extent in sorted({window_shape[0], 1}, reverse=True)
        for candidate in _candidates(window_shape, extent, bits_per_value, max_codes)
    ]
    if found:
        return found
    if bits_per_value * math.prod(window_shape) < 1.5:
        return [(window_shape, 2)]
    return [((1,) * len(window_shape), max_codes)]


def fit_at_rate(
    windows: Windows,
    bits_per_value: float,
    seed: int,
    *,
    evaluated: Windows | None = None,
    max_codes: int = MAX_CODES,
) -> PatchKMeans:
    """The best k-means baseline whose entropy-coded rate is that of a codec.

    k-means codes are not equally frequent, so their order-0 entropy is below log2 K, far below it
    for pictures. Small codebooks tell by how much; candidates of `equal_rate_patches` at the rate
    corrected by that are compared on held-out windows, and the winner's codebook is resized to
    meet the rate.

    Args:
        windows: training windows [N C *s], normalised.
        bits_per_value: the codec's measured rate for tokens, without side information.
        seed: of sampling and initialisation.
        evaluated: windows on whose tokens that rate was measured and is to be met; only their
            entropy is looked at. None = the training windows.
        max_codes: largest codebook.
    """
    rng = np.random.default_rng(seed)
    shape = windows.shape[1:]
    windows = windows[rng.permutation(len(windows))[: max(2, MAX_VALUES // math.prod(shape))]]
    cut = max(1, round(len(windows) * HELD_OUT))
    held, rest = windows[:cut], windows[cut:] if len(windows) > cut else windows
    met_on = windows if evaluated is None else evaluated

    def best(rate: float, most: int) -> tuple[PatchKMeans, float]:
        candidates = equal_rate_patches(shape, rate, most)
        fitted = [PatchKMeans.fit(rest, patch, size, seed) for patch, size in candidates]
        winner = min(fitted, key=lambda codec: _distortion(codec, held))
        return winner, _typical_entropy(winner, met_on)

    rough, spent = best(bits_per_value, max(16, max_codes // 16))
    codec, spent = best(bits_per_value * min(2.0, rough.nominal / max(spent, 1e-9)), max_codes)
    tried = [(codec, spent)]
    while spent and abs(spent / bits_per_value - 1) >= RATE_TOLERANCE and len(tried) <= RESIZES:
        patch_shape, size = _resized(codec, spent, bits_per_value, max_codes)
        codec = PatchKMeans.fit(rest, patch_shape, size, seed)
        spent = _typical_entropy(codec, met_on)
        tried.append((codec, spent))
    return min(tried, key=lambda one: abs(one[1] - bits_per_value))[0]


def _resized(codec: PatchKMeans, spent: float, bits_per_value: float, max_codes: int) -> tuple[Shape, int]:
    """Patch shape and codebook size that bring a codec's entropy from `spent` to the wanted rate."""
    bits = math.log2(codec.codebook_size) + (bits_per_value - spent) / codec.tokens_per_value
    size = max(2, round(2 ** min(bits, 64.0)))
    if size <= max_codes:
        return codec.patch_shape, size
    shorter = equal_rate_patches(codec.window_shape, bits_per_value * codec.nominal / spent, max_codes)
    return next((one for one in shorter if one[0][0] == codec.patch_shape[0]), shorter[0])


def _typical_entropy(codec: PatchKMeans, windows: Windows) -> float:
    """Entropy over enough windows that their number does not bound it."""
    return codec.entropy(codec.encode(windows[: -(-ENTROPY_TOKENS // math.prod(codec.grid))]))


def _distortion(codec: PatchKMeans, windows: Windows) -> float:
    return float(np.square(windows - codec.decode(codec.encode(windows))).mean(dtype=np.float64))


def _candidates(
    window_shape: Shape, channels: int, bits_per_value: float, max_codes: int
) -> list[tuple[Shape, int]]:
    found: list[tuple[Shape, int]] = []
    limit = math.log2(max_codes)
    for extents in _extents(window_shape[1:]):
        patch_shape = (channels, *extents)
        tokens = math.prod(_grid(window_shape, patch_shape))
        bits = bits_per_value * math.prod(window_shape) / tokens
        if bits <= limit + 1e-9 and round(2**bits) >= 2:
            found.append((patch_shape, round(2**bits)))
            limit = bits - 2
    return found[:CANDIDATES]


def _extents(spatial: Shape) -> Iterator[Shape]:
    """Spatial extents from the whole window down: lines, or squares and near squares."""
    for side in range(max(spatial), 0, -1):
        for short in range(side, max(0, side - len(spatial)), -1):
            wanted = [min(short, spatial[0]), *(min(side, size) for size in spatial[1:])]
            grid = _grid(spatial, wanted)
            # the smallest patch that needs no more tokens wastes the least at the window's end
            yield tuple(-(-size // count) for size, count in zip(spatial, grid, strict=True))


def _grid(shape: Sequence[int], patch_shape: Sequence[int]) -> Shape:
    return tuple(-(-size // patch) for size, patch in zip(shape, patch_shape, strict=True))


def _alternate(first: Sequence[int], second: Sequence[int]) -> list[int]:
    return [value for pair in zip(first, second, strict=True) for value in pair]
