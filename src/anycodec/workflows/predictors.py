"""Which predictor codes a segment without the codec."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream import regression, residual, restoration, wide
from anycodec.bitstream.grid import Grid
from anycodec.types import Axes

_NETWORKS = {"pod5": wide.NANOPORE}
"""Networks of the format that know the signals of a file format."""
_PROBE = 2**12
"""Rows that choose between lines."""
_NOISE = 2.0
"""Bits a value."""


def plain(form: str, numbers: NDArray[np.int64], grid: Grid, axes: Axes) -> bytes:
    """The restoration of a segment of a file of this format by prediction alone.

    A network is fast and the best where it knows the signal. Where it does no better than coding differences
    with their entropy, the signal is another one, and what suits others is tried as well.
    """
    if not _known(form, numbers, axes):
        return _by_lines(numbers, grid, axes)
    data = restoration.pack_wide(numbers, grid, _NETWORKS[form])
    if 8 * len(data) < _entropy_of_differences(numbers[:, 0]):
        return data
    return min(data, _by_lines(numbers, grid, axes), key=len)


def _by_lines(numbers: NDArray[np.int64], grid: Grid, axes: Axes) -> bytes:
    """By a line that is learned on the way, or by one that is stored, whichever is better for the middle."""
    if axes != "TC" or numbers.shape[1] > regression.MOST_CHANNELS:
        return restoration.pack_plain(numbers, grid, axes)
    start = max(0, (len(numbers) - _PROBE) // 2)
    middle = numbers[start : start + _PROBE]
    if len(residual.encode_regression(middle)) <= len(residual.encode(middle, axes)):
        return restoration.pack_regression(numbers, grid)
    return restoration.pack_plain(numbers, grid, axes)


def leaves_noise(form: str, numbers: NDArray[np.int64], axes: Axes, data: bytes) -> bool:
    """Whether a network leaves so many bits that they are noise, which no codec foretells."""
    return _known(form, numbers, axes) and 8 * len(data) > _NOISE * numbers.size


def _known(form: str, numbers: NDArray[np.int64], axes: Axes) -> bool:
    return form in _NETWORKS and axes == "TC" and numbers.shape[-1] == 1


def _entropy_of_differences(values: NDArray[np.int64]) -> float:
    """Bits of all differences by their own histogram."""
    _, counts = np.unique(np.diff(values), return_counts=True)
    return float(-(counts * np.log2(counts / max(1, counts.sum()))).sum())
