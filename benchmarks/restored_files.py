"""What a restored file must have in common with its original besides the values.

Looked at with other programs' readers (pod5, pandas, PIL, PyAV), not with anycodec's. Each check
returns the differences in words, [] for none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pod5
from PIL import Image

READ_FIELDS = (
    "read_id", "num_samples", "calibration", "run_info", "read_number", "start_sample", "median_before",
    "pore", "end_reason", "tracked_scaling", "predicted_scaling", "num_minknow_events",
    "num_reads_since_mux_change", "time_since_mux_change",
)  # fmt: skip


def check_pod5(original: Path, restored: Path) -> list[str]:
    """Read ids and their order, calibration, sample counts, run info and the other fields."""
    with pod5.Reader(original) as a, pod5.Reader(restored) as b:
        if a.num_reads != b.num_reads:
            return [f"{a.num_reads} reads, then {b.num_reads}"]
        found = []
        for x, y in zip(a.reads(), b.reads(), strict=True):
            found += [f"{x.read_id}: {name}" for name in READ_FIELDS if _field(x, name) != _field(y, name)]
            if len(y.signal) != x.num_samples:
                found.append(f"{x.read_id}: {len(y.signal)} samples to read")
    return found


def check_table(original: Path, restored: Path) -> list[str]:
    """Columns and their order, number of rows, types, gaps, and columns that are not numbers."""
    a, b = pd.read_csv(original), pd.read_csv(restored)
    if list(a.columns) != list(b.columns):
        return [f"columns {list(a.columns)}, then {list(b.columns)}"]
    if len(a) != len(b):
        return [f"{len(a)} rows, then {len(b)}"]
    found = [f"{name}: {a[name].dtype}, then {b[name].dtype}" for name in a if a[name].dtype != b[name].dtype]
    found += [f"{name}: other gaps" for name in a if not a[name].isna().equals(b[name].isna())]
    text = a.select_dtypes(exclude="number").columns
    return found + [f"{name}: other entries" for name in text if not a[name].equals(b[name])]


def check_image(original: Path, restored: Path) -> list[str]:
    """Size and mode."""
    with Image.open(original) as a, Image.open(restored) as b:
        return [] if (a.size, a.mode) == (b.size, b.mode) else [f"{a.size} {a.mode}, then {b.size} {b.mode}"]


def check_video(original: Path, restored: Path) -> list[str]:
    """Number of frames that decode, frames a second, size."""
    a, b = _video(original), _video(restored)
    return [f"{name} {a[name]}, then {b[name]}" for name in a if a[name] != b[name]]


def _video(path: Path) -> dict[str, Any]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        fps, size = stream.average_rate, (stream.width, stream.height)
        return {"frames": sum(1 for _ in container.decode(stream)), "fps": fps, "size": size}


def _field(read: pod5.ReadRecord, name: str) -> Any:
    """A field in a form that compares NaN as equal to itself."""
    value = getattr(read, name)
    if isinstance(value, float) and np.isnan(value):
        return None
    return repr(value) if name.endswith("scaling") else value
