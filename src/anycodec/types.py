"""The values that pass between stages. NumPy only, no framework.

Axis legend, used in every docstring:

    B  batch            N  windows cut from one segment
    T  time: samples of a 1-D signal, frames of a video
    C  channel          H  height          W  width
    *s one or two (later three) spatial axes of a window: T, or H W
    *g the token grid: *s divided by the codec's strides

    file --io--> Signal [T C | H W C | T H W C] --data--> windows [N C *s] --codec--> Tokens [N *g]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Axes = Literal["TC", "HWC", "THWC"]
"""Layout of a signal's values: 1-D series, picture, video."""

Meta = Mapping[str, Any]
"""Native metadata, JSON-serialisable (str, int, float, bool, None, lists and maps of them)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalInfo:
    """What is known of a whole signal without reading its values.

    Attributes:
        id: unique within its file (a POD5 read id; "" where a file holds one signal).
        axes: layout of the values.
        shape: shape of the whole signal in that layout; T of a stream can be an estimate.
        dtype: NumPy name of the native storage type; the writer restores it.
        rate: samples or frames a second, None where the file has none.
        unit: unit of the values as read ("pA", "level", "" if unknown).
        channels: a name a channel, in order.
        value_range: lowest and highest storable value in `unit`, where the type has them (8-bit
            pixels: (0, 255)).
        label: class, from the folder or the file, None where there is none.
        meta: what the writer needs to restore this signal natively.
    """

    id: str
    axes: Axes
    shape: tuple[int, ...]
    dtype: str
    rate: float | None = None
    unit: str = ""
    channels: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None
    label: str | None = None
    meta: Meta = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Extent along the streaming axis: samples, frames; 1 for a picture."""
        return 1 if self.axes == "HWC" else self.shape[0]

    @property
    def n_channels(self) -> int:
        return self.shape[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A contiguous segment of one signal: the unit that is held in memory.

    Long signals (a video, a table of many rows, a very long read) arrive as several segments in
    order; a short one as a single segment with `start` 0.

    Attributes:
        info: describes the whole signal, the same object for each of its segments.
        values: [T C], [H W C] or [T H W C] as `info.axes` says; integers as stored, or floats in
            `info.unit`. NaN never appears: missing values are filled and marked in `mask`.
        start: index of the first sample or frame within the whole signal.
        mask: booleans shaped like `values`, True where the file held a value; None = everywhere.
        attachments: opaque bytes that the writer needs for this segment (timestamps, columns that
            are passed through, an alpha plane), by name.
    """

    info: SignalInfo
    values: NDArray[Any]
    start: int = 0
    mask: NDArray[np.bool_] | None = None
    attachments: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Samples or frames in this segment; 1 for a picture."""
        return 1 if self.info.axes == "HWC" else len(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """What is known of a file without reading its values.

    Attributes:
        path: as given.
        format: the io module that reads it ("pod5", "table", "image", "video", "array").
        n_signals: number of signals in the file.
        meta: file-wide native metadata that the writer needs, JSON-serialisable.
    """

    path: str
    format: str
    n_signals: int
    meta: Meta = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Discrete codes of N windows.

    Attributes:
        grids: one integer array [N *g] a level (hierarchies and residual stages have several),
            coarsest first.
        codebook_sizes: number of codes a level; every value of grids[i] is < codebook_sizes[i].
    """

    grids: tuple[NDArray[np.int64], ...]
    codebook_sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.grids) != len(self.codebook_sizes):
            raise ValueError(f"{len(self.grids)} token grids, {len(self.codebook_sizes)} codebooks")

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.grids[0])


@dataclass(frozen=True, slots=True)
class Latents:
    """Continuous latents [N D *g] of N windows (KL codecs, generators)."""

    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Affine:
    """Statistics of a normalizer: y = (x - shift) / scale, x = y * scale + shift.

    Attributes:
        shift: [N or 1, C] float32, in the signal's unit.
        scale: [N or 1, C] float32, > 0, in the signal's unit.
    """

    shift: NDArray[np.float32]
    scale: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or signal that was left out, and why."""

    path: str
    reason: str
