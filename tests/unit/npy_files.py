"""A stand-in for the formats: one signal a .npy file, in the layout that the source has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from anycodec.config.data import ImageSource, VideoSource
from anycodec.errors import DataError
from anycodec.io.base import Reader
from anycodec.types import Axes, FileInfo, Signal, SignalInfo


class NpyReader(Reader):
    def __init__(self, path: Path, axes: Axes) -> None:
        try:
            self.values = np.load(path)
        except (OSError, ValueError) as error:
            raise DataError("not an array", where=str(path)) from error
        native = (0.0, 255.0) if self.values.dtype == np.uint8 else None
        hertz = float(path.stem.split("@")[1]) if "@" in path.stem else None
        label = path.parent.name if path.parent.name.startswith("ID_") else None
        self.signal_info = SignalInfo(
            id=path.stem,
            axes=axes,
            shape=self.values.shape,
            dtype=self.values.dtype.name,
            value_range=native,
            rate=hertz,
            label=label,
        )
        self.info = FileInfo(path=str(path), format="npy", n_signals=1)
        self.closed = False

    def signals(self) -> Iterator[SignalInfo]:
        yield self.signal_info

    def segments(self, block: int) -> Iterator[Signal]:
        for start in range(0, len(self.values), block):
            yield self.fetch(0, start, start + block)

    def fetch(self, index: int, start: int, stop: int) -> Signal:
        assert index == 0
        assert not self.closed
        if self.signal_info.axes == "HWC":
            return Signal(info=self.signal_info, values=self.values)
        values: Any = self.values[start:stop]
        mask = None
        if values.dtype.kind == "f" and np.isnan(values).any():
            mask = ~np.isnan(values)
            values = np.nan_to_num(values)
        return Signal(info=self.signal_info, values=values, start=start, mask=mask)

    def close(self) -> None:
        self.closed = True


def open_npy(path: Path, source: Any) -> NpyReader:
    axes: Axes = "TC"
    if isinstance(source, ImageSource):
        axes = "HWC"
    elif isinstance(source, VideoSource):
        axes = "THWC"
    return NpyReader(path, axes)


def save(path: Path, values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path
