"""The fields of a POD5 read as JSON metadata, and its samples as pA.

pA = (ADC + offset) * scale        ADC = round(pA / scale - offset), int16
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.errors import MissingExtra

MOST_OFFSET = 2.0**20
"""Calibration offsets beyond this leave too few bits of a float32 for the samples."""
FLOATS = {
    "median_before": 0.0,
    "calibration_offset": 0.0,
    "calibration_scale": 1.0,
    "tracked_scaling_scale": None,
    "tracked_scaling_shift": None,
    "predicted_scaling_scale": None,
    "predicted_scaling_shift": None,
    "time_since_mux_change": 0.0,
    "open_pore_level": None,
    "expected_open_pore_level": None,
    "selected_read_level": None,
}
"""Float32 columns of a read and their usual values, which are left out of the metadata; None = NaN."""

OTHERS: dict[str, Any] = {
    "read_number": 0,
    "start": 0,
    "channel": 0,
    "well": 0,
    "pore_type": "not_set",
    "end_reason": "unknown",
    "end_reason_forced": False,
    "num_minknow_events": 0,
    "num_reads_since_mux_change": 0,
}
"""The other columns of a read and their usual values."""

USUAL: dict[str, Any] = FLOATS | OTHERS | {"run_info": 0}


def usable_calibration(offset: object, scale: object) -> bool:
    """Whether int16 samples survive the way to float32 pA and back."""
    if not isinstance(offset, float) or not isinstance(scale, float):
        return False
    usable = math.isfinite(scale) and abs(scale) > 1e-30 and abs(offset) <= MOST_OFFSET
    return usable and abs(scale) * (MOST_OFFSET + 2**15) < float(np.finfo(np.float32).max)


def to_picoamperes(
    adc: NDArray[np.int16], offset: float, scale: float, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """ADC counts -> pA, as the pod5 library computes it."""
    values = np.add(adc, np.float32(offset), out=out, dtype=np.float32)
    values *= np.float32(scale)
    return values


def to_adc(values: NDArray[Any], offset: float, scale: float) -> NDArray[np.int16]:
    """pA -> ADC counts: the inverse of `to_picoamperes`, exact on every int16."""
    counts = np.rint(values.astype(np.float64) / np.float64(np.float32(scale)) - np.float32(offset))
    limits = np.iinfo(np.int16)
    return np.clip(counts, limits.min, limits.max).astype(np.int16)


def json_floats(values: NDArray[np.float32]) -> list[float | str | None]:
    """Float32 as the shortest decimals that restore them; NaN as None, infinities as text."""
    return [float(str(v)) if math.isfinite(v) else None if math.isnan(v) else str(v) for v in values]


def pod5_library() -> Any:
    """The pod5 package, imported when it is needed.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pod5
    except ModuleNotFoundError as error:
        raise MissingExtra("the pod5 library", "pod5") from error
    return pod5
