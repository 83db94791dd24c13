"""Signal values <-> windows.

    values [T C] | [H W C] | [T H W C]  --cut-->  windows [N C *s]  --stitch-->  values

One tiler serves every layout: the spatial axes *s at the end are tiled, what leads them (the
frames of a video, where *s is H W) is folded into N. N runs over (frames, tiles along H, tiles along
W), (clips along T, tiles along H, tiles along W) or (windows along T); where channels are coded
independently, over the channels as well, **channels fastest**: window n * channels + c is channel c of
the n-th stretch of time, and C = 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from anycodec.config.data import ArraySource, DataSpec, TableSource
from anycodec.config.run import CLIP_AXES, window_shape
from anycodec.data.catalog import Entry
from anycodec.types import SignalInfo

BLOCK_SAMPLES = 2**20
"""Most values of a segment of a 1-D signal that are in memory at once."""
BLOCK_FRAMES = 64
"""Most frames of a segment of a video."""
BLOCK_PIXELS = 2**24
"""Most values (pixels x channels) of a segment of a video."""


class Windower:
    """Cuts segments into the windows of a source spec, and puts them together again.

    Neighbouring windows share `overlap` values along each spatial axis, where `stitch` cross-fades
    them with linear weights that sum to one; clips of a video follow each other without. The tail, and
    anything smaller than a window, is padded with its edge values, what is empty with zeros.

    Args:
        data: the source; gives window shape, overlap and the treatment of channels.
        axes: the codec's; None = the source's usual ones, which fold the frames of a video.
    """

    def __init__(self, data: DataSpec, axes: str | None = None) -> None:
        self.size = window_shape(data, axes)
        """Window extent *s."""
        self.clips = axes == CLIP_AXES
        """Whether windows are clips of a video."""
        self.overlaps = (data.window.overlap,) * len(self.size)
        """Values that neighbouring windows share along each axis of *s."""
        if self.clips:
            self.overlaps = (0, *self.overlaps[1:])
        self.independent = isinstance(data, TableSource | ArraySource) and data.channels == "independent"
        """Whether each channel is a window of its own."""
        self._hops = tuple(size - share for size, share in zip(self.size, self.overlaps, strict=True))

    def count(self, shape: Sequence[int]) -> int:
        """Number of windows N of a segment of this shape (its layout's, channels last)."""
        lead, spatial = self._split_shape(shape)
        folded = shape[-1] if self.independent else 1
        return math.prod(lead) * math.prod(self._counts(spatial)) * folded

    def side_by_side(self, shape: Sequence[int]) -> int:
        """Windows of each step along T, of the N windows of a signal whose windows have that axis."""
        return self.count(shape) // self._counts(self._split_shape(shape)[1])[0]

    def block(self, signal: SignalInfo | Entry) -> int:
        """Samples or frames of a segment: what compression codes, and normalizes, in one go.

        A whole number of windows along T, so that only the last segment needs padding.
        """
        if len(self.size) > 1:
            frames = min(BLOCK_FRAMES, max(1, BLOCK_PIXELS // math.prod(signal.shape[-3:])))
            clip = self.size[0] if self.clips else 1
            return max(1, frames // clip) * clip
        (hop,), (overlap,) = self._hops, self.overlaps
        return max(1, (BLOCK_SAMPLES // signal.n_channels - overlap) // hop) * hop + overlap

    def cut(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values in their layout -> windows [N C *s]."""
        axes = len(self.size)
        lead, spatial = self._split_shape(values.shape)
        counts = self._counts(spatial)
        x = np.moveaxis(values, -1, -1 - axes)  # [*lead C *spatial]
        padding = [(0, 0)] * (len(lead) + 1)
        for extent, padded in zip(spatial, self._padded(counts), strict=True):
            padding.append((0, padded - extent))
        if any(after for _, after in padding):
            x = np.pad(x, padding, mode="edge" if x.size else "constant")
        tiles: NDArray[Any] = sliding_window_view(x, self.size, axis=tuple(range(-axes, 0)))
        every: tuple[Any, ...] = (..., *(slice(None, None, hop) for hop in self._hops), *[slice(None)] * axes)
        tiles = tiles[every]  # [*lead C *counts *s]
        tiles = np.moveaxis(tiles, len(lead), len(lead) + axes)  # [*lead *counts C *s]
        channels = 1 if self.independent else values.shape[-1]
        return np.ascontiguousarray(tiles, np.float32).reshape(-1, channels, *self.size)

    def stitch(self, windows: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
        """Windows [N C *s] -> values of this shape: the inverse of `cut`."""
        axes = len(self.size)
        lead, spatial = self._split_shape(shape)
        counts = self._counts(spatial)
        x = windows.reshape(*lead, *counts, shape[-1], *self.size)
        x = np.moveaxis(x, len(lead) + axes, len(lead))  # [*lead C *counts *s]
        for axis in range(axes):
            at = len(lead) + 1 + axis
            # [.. counts .. s ..] -> [.. .. n s], fold, and back: the folded axis takes the place of n
            pair = np.moveaxis(x, (at, at + axes - axis), (-2, -1))
            x = np.moveaxis(_fold(pair, self.overlaps[axis]), -1, at)
        crop: tuple[Any, ...] = (..., *(slice(extent) for extent in spatial))
        return np.ascontiguousarray(np.moveaxis(x[crop], len(lead), -1))

    def _split_shape(self, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Leading and spatial extents of a shape with channels last."""
        axes = len(self.size)
        return tuple(shape[: -1 - axes]), tuple(shape[-1 - axes : -1])

    def _counts(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Windows along each spatial axis, at least one."""
        return tuple(
            1 + max(0, -((size - extent) // hop))
            for extent, size, hop in zip(spatial, self.size, self._hops, strict=True)
        )

    def _padded(self, counts: Sequence[int]) -> tuple[int, ...]:
        each = zip(counts, self._hops, self.overlaps, strict=True)
        return tuple(n * hop + overlap for n, hop, overlap in each)


def _fold(windows: NDArray[np.float32], overlap: int) -> NDArray[np.float32]:
    """[.. n s] -> [.. n * hop + overlap], cross-faded."""
    *rest, n, size = windows.shape
    hop = size - overlap
    heads = windows[..., :hop]
    if overlap:
        heads = heads.copy()
        weight = (np.arange(overlap, dtype=np.float32) + 0.5) / np.float32(overlap)
        before, after = windows[..., :-1, hop:], windows[..., 1:, :overlap]
        # (1 - w) before + w after, in the form that is exact where the two agree
        heads[..., 1:, :overlap] = before + weight * (after - before)
    body = heads.reshape(*rest, n * hop)
    return np.concatenate([body, windows[..., -1, hop:]], axis=-1) if overlap else body
