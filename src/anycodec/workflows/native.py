"""Generated windows as native files, like those that the codec was trained on.

What a file needs beside its values (frames a second, calibration, names of columns) is kept with the
latents, so that samples can be written where the data is not.
"""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.config.data import DataSpec
from anycodec.data.channels import native_values
from anycodec.data.resample import open_at_rate
from anycodec.data.split import Piece
from anycodec.errors import DataError
from anycodec.io import formats
from anycodec.types import Axes, FileInfo, Signal, SignalInfo

_FILE_KEYS = {"pod5": ("run_infos", "vbz"), "video": ("fps", "writer", "pixel_aspect")}
"""Metadata of a file that its samples share."""
_SIGNAL_KEYS = {"pod5": ("calibration_offset", "calibration_scale", "pore_type")}
_SUFFIXES = {"image": ".png", "table": ".csv", "array": ".npy", "pod5": ".pod5", "video": ".mp4"}
_UNNAMED = "value"
"""A column whose window can be of any channel."""


def describe_native(piece: Piece, source: DataSpec) -> dict[str, Any]:
    """What files like that of `piece` need beside values, JSON-serialisable."""
    with closing(open_at_rate(Path(piece.path), source)) as reader:
        infos = reader.signals()
        info = next(info for number, info in enumerate(infos) if number == piece.signal)
        meta = reader.info.meta
    kind = source.type
    separate = getattr(source, "channels", "joint") == "independent"
    return {
        "type": kind,
        "dtype": info.dtype,
        "rate": info.rate,
        "unit": info.unit,
        "channels": [_UNNAMED] if separate else list(info.channels),
        "n_channels": 1 if separate else info.n_channels,
        "value_range": info.value_range,
        "file": {key: meta[key] for key in _FILE_KEYS.get(kind, ())},
        "signal": {key: info.meta[key] for key in _SIGNAL_KEYS.get(kind, ()) if key in info.meta},
    }


@dataclass(frozen=True, slots=True)
class Named:
    """A generated window in native units.

    Attributes:
        name: of its file, without suffix; where several share a file, of its signal.
        values: [C *s].
    """

    name: str
    values: NDArray[np.float32]


class NativeWriter:
    """Writes generated windows as files of the data's own kind.

    Args:
        native: what `describe_native` gave.

    Raises:
        DataError: a description that no data has.
    """

    def __init__(self, native: Mapping[str, Any]) -> None:
        try:
            self.kind = str(native["type"])
            self._suffix = _SUFFIXES[self.kind]
            self._native = native
            self._dtype = np.dtype(native["dtype"])
            self._channels = int(native["n_channels"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the latents do not say what files they come from ({error})") from error

    def write(self, folder: Path, windows: Iterable[Named], group: str) -> list[Path]:
        """Write windows of one class into a folder; the files.

        Args:
            folder: is there.
            windows: to write.
            group: name of the file where a format holds many signals in one.
        """
        if self.kind == "pod5":
            return [self._write_reads(folder / f"{group}{self._suffix}", list(windows))]
        return [self._write_one(folder, window) for window in windows]

    def _write_one(self, folder: Path, window: Named) -> Path:
        values = np.moveaxis(window.values, 0, -1)
        if self.kind == "image" or (self.kind == "video" and values.ndim == 3):
            return self._write_picture(folder / f"{window.name}.png", values)
        path = folder / f"{window.name}{self._suffix}"
        if self.kind == "table":
            return self._write_table(path, values)
        if self.kind == "array":
            entry = {"key": "", "dtype": self._dtype.str, "shape": list(values.shape)}
            meta: dict[str, Any] = {"layout": "tc", "arrays": [entry], "compressed": None}
        else:
            meta = {**self._native["file"], "size": list(values.shape[1:3]), "even": True}
            path = path.with_suffix(".mkv" if meta["writer"] == "ffv1" else ".mp4")
        formats.write(path, self._file(path, meta), [self._signal("", values)])
        return path

    def _write_picture(self, path: Path, values: NDArray[np.float32]) -> Path:
        signal = self._signal("", native_values(values, self._channels))
        formats.write(path, FileInfo(path=str(path), format="image", n_signals=1), [signal])
        return path

    def _write_table(self, path: Path, values: NDArray[np.float32]) -> Path:
        columns = range(values.shape[-1])
        header = io.StringIO()
        csv.writer(header, lineterminator="").writerow(self._native["channels"])
        dialect = {
            "delimiter": ",", "newline": "\n", "header": header.getvalue(), "quoted": [False] * len(columns),
            "quotes": False, "tail": "\n", "bom": False,
        }  # fmt: skip
        whole = self._dtype.kind in "iu"
        form = {"form": "int" if whole else "shortest", "decimals": 0, "missing": [""]}
        meta = {
            "kind": "csv", "n_columns": len(columns), "channels": list(columns), "series": None,
            "order": None, "rows": {"dialect": dialect, "forms": {str(column): form for column in columns}},
        }  # fmt: skip
        shortest = np.array([float(str(value)) for value in values.flat]).reshape(values.shape)
        formats.write(path, self._file(path, meta), [self._signal("", shortest)])
        return path

    def _write_reads(self, path: Path, windows: Sequence[Named]) -> Path:
        run = {**self._native["file"]["run_infos"][0], "sample_rate": round(self._native["rate"])}
        meta = {"run_infos": [run], "vbz": self._native["file"]["vbz"]}
        reads = [
            self._signal(str(uuid.uuid5(uuid.NAMESPACE_URL, f"anycodec:{window.name}")), window.values.T)
            for window in windows
        ]
        formats.write(path, self._file(path, meta, len(reads)), reads)
        return path

    def _file(self, path: Path, meta: Mapping[str, Any], signals: int = 1) -> FileInfo:
        return FileInfo(path=str(path), format=self.kind, n_signals=signals, meta=meta)

    def _signal(self, name: str, values: NDArray[Any]) -> Signal:
        axes: dict[int, Axes] = {2: "TC", 3: "HWC", 4: "THWC"}
        limits = self._native["value_range"]
        if limits is not None:
            values = np.clip(np.rint(values), *limits).astype(self._dtype)
        info = SignalInfo(
            id=name,
            axes=axes[values.ndim],
            shape=values.shape,
            dtype=str(self._dtype),
            rate=self._native["rate"],
            unit=self._native["unit"],
            channels=tuple(self._native["channels"]),
            value_range=None if limits is None else (limits[0], limits[1]),
            meta=self._native["signal"],
        )
        return Signal(info=info, values=values)
