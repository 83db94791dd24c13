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

MAX_CODES = 4096
HELD_OUT = 0.1
MAX_VALUES = 1 << 25
"""Values of the windows that a fit looks at: 128 MiB of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchKMeans:
    """A codebook of patches.

    Attributes:
        window_shape: *s of the windows.
        patch_shape: extent of a patch along *s; it covers all channels.
        codes: [K, C * prod(patch_shape)].
    """

    window_shape: tuple[int, ...]
    patch_shape: tuple[int, ...]
    codes: NDArray[np.float32]

    @classmethod
    def fit(
        cls, windows: Windows, patch_shape: tuple[int, ...], codebook_size: int, seed: int
    ) -> PatchKMeans:
        """Cut windows [N C *s] into patches and cluster them."""
        rng = np.random.default_rng(seed)
        codes = kmeans(cut_patches(windows, patch_shape), codebook_size, rng)
        return cls(window_shape=windows.shape[2:], patch_shape=patch_shape, codes=codes)

    @property
    def codebook_size(self) -> int:
        return len(self.codes)

    @property
    def channels(self) -> int:
        values: int = self.codes.shape[1]
        return values // math.prod(self.patch_shape)

    @property
    def grid(self) -> tuple[int, ...]:
        """Tokens of a window along each axis; the last patch may reach over the end."""
        return _grid(self.window_shape, self.patch_shape)

    @property
    def nominal(self) -> float:
        """Fixed-length rate, bits/value."""
        return math.log2(self.codebook_size) * self._tokens_per_value

    def entropy(self, tokens: Indices) -> float:
        """Empirical order-0 entropy of these tokens, bits/value."""
        return entropy(np.bincount(tokens.ravel(), minlength=self.codebook_size)) * self._tokens_per_value

    def encode(self, windows: Windows) -> Indices:
        """[N C *s] -> tokens [N *g]."""
        indices, _ = nearest(cut_patches(windows, self.patch_shape), self.codes)
        return indices.reshape(len(windows), *self.grid)

    def decode(self, tokens: Indices) -> Windows:
        """Tokens [N *g] -> [N C *s]."""
        return join_patches(self.codes[tokens], self.patch_shape, self.window_shape)

    def describe(self) -> str:
        """One line for reports."""
        extent = " x ".join(map(str, self.patch_shape))
        axes = "values" if len(self.patch_shape) == 1 else "pixels"
        channels = f", {self.channels} channels" if self.channels > 1 else ""
        return f"k-means VQ on raw patches of {extent} {axes}{channels}, {self.codebook_size} codes"

    @property
    def _tokens_per_value(self) -> float:
        return math.prod(self.grid) / (math.prod(self.window_shape) * self.channels)


def cut_patches(windows: Windows, patch_shape: tuple[int, ...]) -> NDArray[np.float32]:
    """[N C *s] -> [N * prod(g), C * prod(patch_shape)]; ends are filled with the edge value."""
    n, channels, *shape = windows.shape
    grid = _grid(shape, patch_shape)
    fill = [(0, g * p - s) for g, p, s in zip(grid, patch_shape, shape, strict=True)]
    padded = np.pad(windows, [(0, 0), (0, 0), *fill], mode="edge") if any(f[1] for f in fill) else windows
    split = padded.reshape(n, channels, *_interleave(grid, patch_shape))
    axes = range(2, 2 + len(grid) * 2, 2)
    patches = split.transpose(0, *axes, 1, *(axis + 1 for axis in axes))
    return np.ascontiguousarray(patches, dtype=np.float32).reshape(n * math.prod(grid), -1)


def join_patches(
    patches: NDArray[np.float32], patch_shape: tuple[int, ...], window_shape: tuple[int, ...]
) -> Windows:
    """[N *g, C * prod(patch_shape)] -> [N C *s], the inverse of `cut_patches`."""
    n, grid, d = len(patches), patches.shape[1:-1], len(patch_shape)
    channels = patches.shape[-1] // math.prod(patch_shape)
    split = patches.reshape(n, *grid, channels, *patch_shape)
    order = [axis for pair in zip(range(1, d + 1), range(d + 2, 2 * d + 2), strict=True) for axis in pair]
    whole = [g * p for g, p in zip(grid, patch_shape, strict=True)]
    joined = split.transpose(0, d + 1, *order).reshape(n, channels, *whole)
    cropped: Windows = joined[(..., *map(slice, window_shape))]
    return cropped


def equal_rate_patches(
    window_shape: tuple[int, ...], channels: int, bits_per_value: float, max_codes: int = MAX_CODES
) -> list[tuple[tuple[int, ...], int]]:
    """Patch shapes and codebook sizes whose fixed-length rate is the given one, best first.

    A longer patch at the same rate has more codes and serves the baseline better, as long as the
    training data can fill them; so the candidates go from the longest patch with at most
    `max_codes` codes to shorter ones with about a quarter, a sixteenth, ... of the codes.

    Args:
        window_shape: *s of the windows.
        channels: C of the windows; a patch covers all of them.
        bits_per_value: the codec's rate for tokens, without side information.
        max_codes: largest codebook.
    """
    budget = bits_per_value * math.prod(window_shape) * channels
    candidates: list[tuple[tuple[int, ...], int]] = []
    limit = math.log2(max_codes)
    for patch_shape in _patch_shapes(window_shape):
        bits = budget / math.prod(_grid(window_shape, patch_shape))
        if bits <= limit + 1e-9 and round(2**bits) >= 2:
            candidates.append((patch_shape, round(2**bits)))
            limit = bits - 2
    if not candidates:
        finest = (1,) * len(window_shape)
        whole = budget / math.prod(window_shape) > math.log2(max_codes)
        candidates = [(finest, max_codes)] if whole else [(tuple(window_shape), 2)]
    return candidates


def fit_at_rate(
    windows: Windows, bits_per_value: float, seed: int, max_codes: int = MAX_CODES
) -> PatchKMeans:
    """The best k-means baseline whose entropy-coded rate is that of a codec.

    Candidates of `equal_rate_patches` are compared on held-out windows. Because k-means codes are
    not equally frequent, the winner is then given as many more codes as its order-0 entropy
    leaves room for, so that an entropy-coded codec is compared with an entropy-coded baseline.

    Args:
        windows: training windows [N C *s], normalised.
        bits_per_value: the codec's measured rate for tokens, without side information.
        seed: of sampling and initialisation.
        max_codes: largest codebook before that correction.
    """
    rng = np.random.default_rng(seed)
    most = max(2, MAX_VALUES // math.prod(windows.shape[1:]))
    windows = windows[rng.permutation(len(windows))[:most]]
    cut = max(1, round(len(windows) * HELD_OUT))
    held, rest = windows[:cut], windows[cut:] if len(windows) > cut else windows
    shapes = equal_rate_patches(windows.shape[2:], windows.shape[1], bits_per_value, max_codes)
    fitted = [PatchKMeans.fit(rest, patch, size, seed) for patch, size in shapes]
    best = min(fitted, key=lambda candidate: _distortion(candidate, held))
    spent = best.entropy(best.encode(held))
    return _grown(best, rest, bits_per_value - spent, seed)


def rate_curve(
    train: Windows, test: Windows, patch_shape: tuple[int, ...], codebook_sizes: Sequence[int], seed: int
) -> Iterator[tuple[float, float]]:
    """(order-0 entropy in bits/value, mean squared error) on `test` for several codebook sizes."""
    for size in codebook_sizes:
        codec = PatchKMeans.fit(train, patch_shape, size, seed)
        tokens = codec.encode(test)
        error = test - codec.decode(tokens)
        yield codec.entropy(tokens), float(np.square(error).mean(dtype=np.float64))


def _grown(codec: PatchKMeans, windows: Windows, spare: float, seed: int) -> PatchKMeans:
    """Refit with more codes that use up the spare bits/value; the entropy follows log2 K closely."""
    size = round(codec.codebook_size * 2 ** (spare / codec._tokens_per_value))
    if size <= codec.codebook_size:
        return codec
    return PatchKMeans.fit(windows, codec.patch_shape, min(size, 2 * codec.codebook_size), seed)


def _distortion(codec: PatchKMeans, windows: Windows) -> float:
    return float(np.square(windows - codec.decode(codec.encode(windows))).mean(dtype=np.float64))


def _patch_shapes(window_shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Patches from the whole window down: lines, or as square as the grid allows."""
    for side in range(max(window_shape), 0, -1):
        sides = tuple(min(side, size) for size in window_shape)
        grid = _grid(window_shape, sides)
        # the smallest patch that needs no more tokens wastes the least at the window's end
        yield tuple(-(-size // count) for size, count in zip(window_shape, grid, strict=True))


def _grid(window_shape: Sequence[int], patch_shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(-(-size // patch) for size, patch in zip(window_shape, patch_shape, strict=True))


def _interleave(grid: Sequence[int], patch_shape: Sequence[int]) -> list[int]:
    return [extent for pair in zip(grid, patch_shape, strict=True) for extent in pair]
