"""Latents of a data set on disk: what generators are trained on.

manifest.json            which codec, which data, classes, shapes, channel statistics (`LatentsInfo`)
shard-00000.safetensors  rows of windows: `latents` float32 [n D *g], `labels` int32 [n] (-1 = none),
                         `split` uint8 [n] (0 training, 1 validation, 2 test), `shift` and `scale` float32
                         [n C] (what undoes the normalizer), `tokens.0`, `tokens.1`, ... of codecs that have
                         tokens, uint16 or uint32 [n *g_level]
rows-00000.jsonl         a line a row: the file, the signal and the place that it was cut from

Rows are windows that lie end to end. The manifest is written last: a folder without one is unfinished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open

from anycodec.errors import DataError
from anycodec.types import Affine, Tokens

MANIFEST = "manifest.json"
SPLITS = ("train", "val", "test")
LARGEST_MANIFEST = 64 * 2**20
"""Bytes of a manifest that are read at most."""
SMALLEST_DEVIATION = 1e-6
"""A channel that varies less is a constant; it is left as it is."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class CodecEntry(_Entry):
    """The codec that made latents.

    Attributes:
        path: its run.
        fingerprint: of the run.
        type: of the codec.
        bottleneck: its quantizer.
    """

    path: str
    fingerprint: str
    type: str
    bottleneck: str


class ShardEntry(_Entry):
    """A shard: its file name, rows and SHA-256."""

    name: str = Field(pattern=r"^shard-[0-9]{5,}\.safetensors$")
    rows: int = Field(ge=0, le=2**32)
    sha256: str


class LatentsInfo(_Entry):
    """What a folder of latents is.

    Attributes:
        codec: which one made them.
        data: type, fingerprint and split settings of the data.
        native: what files of this data need beside values, for writing samples.
        in_channels: C of the windows.
        window: *s.
        classes: names; a label is an index.
        shape: (D, *g).
        codebook_sizes: codes a level, () where there are no tokens.
        grids: *g of each level.
        mean: of each channel over the training split, [D].
        std: its standard deviation, [D], > 0.
        counts: rows of each split.
        class_counts: training rows of each class.
        shards: in order.
        skipped: [file, reason] of what was left out.
        fingerprint: SHA-256 over the codec, the shards and the classes.
    """

    format: Literal["anycodec latents"] = "anycodec latents"
    version: Literal[1] = 1
    codec: CodecEntry
    data: dict[str, Any]
    native: dict[str, Any]
    in_channels: int = Field(ge=1)
    window: tuple[int, ...]
    classes: tuple[str, ...]
    shape: tuple[int, ...] = Field(min_length=2)
    codebook_sizes: tuple[int, ...]
    grids: tuple[tuple[int, ...], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    counts: dict[str, int]
    class_counts: dict[str, int]
    shards: tuple[ShardEntry, ...] = Field(min_length=1)
    skipped: tuple[tuple[str, str], ...] = ()
    fingerprint: str


def set_fingerprint(codec: str, shards: Sequence[ShardEntry], classes: Sequence[str]) -> str:
    """SHA-256 that tells sets of latents apart, whatever folder they lie in."""
    content = [codec, [shard.sha256 for shard in shards], list(classes)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_info(path: Path) -> LatentsInfo:
    """The manifest of a folder of latents.

    Raises:
        DataError: missing, damaged, or of another version.
    """
    file = path / MANIFEST
    try:
        if file.stat().st_size > LARGEST_MANIFEST:
            raise ValueError("it is too large")
        info = LatentsInfo.model_validate_json(file.read_bytes())
        _check_sizes(info)
    except FileNotFoundError as error:
        raise DataError(
            "no finished latents are here", where=str(path), how="write them: anycodec latents RUN DIR -o OUT"
        ) from error
    except (ValidationError, ValueError, OSError) as error:
        detail = error.errors()[0] if isinstance(error, ValidationError) else None
        what = f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" if detail else str(error)
        raise DataError(
            f"damaged or foreign manifest of latents ({what})",
            where=str(file),
            how="write them again: anycodec latents RUN DIR -o OUT",
        ) from error
    return info


def _check_sizes(info: LatentsInfo) -> None:
    channels, sizes = info.shape[0], (*info.shape, *info.window, *(s for grid in info.grids for s in grid))
    if len(info.mean) != channels or len(info.std) != channels:
        raise ValueError(f"statistics of {len(info.mean)} channels for latents of {channels}")
    if not np.isfinite(info.mean).all() or not all(0 < s < np.inf for s in info.std):
        raise ValueError("statistics that are no numbers")
    if min(sizes) < 1 or len(info.grids) != len(info.codebook_sizes):
        raise ValueError(f"impossible sizes {info.shape}, {info.grids}")


class Latents:
    """A folder of latents, read from the disk as rows are asked for.

    Attributes:
        path: the folder.
        info: its manifest.
        labels: [n] int32, -1 = none.
        split: [n] uint8.

    Raises:
        DataError: damaged, or not such a folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info = read_info(path)
        self._shards = [_Shard(path / shard.name, shard.rows, self.info) for shard in self.info.shards]
        self._ends = np.cumsum([shard.rows for shard in self.info.shards])
        self.labels = np.concatenate([shard.small("labels", np.int32) for shard in self._shards])
        self.split = np.concatenate([shard.small("split", np.uint8) for shard in self._shards])
        if self.labels.min(initial=0) < -1 or self.labels.max(initial=-1) >= len(self.info.classes):
            raise DataError("labels that are no classes", where=str(path), how="write the latents again")

    def __reduce__(self) -> tuple[type[Latents], tuple[Path]]:
        """Pickles as the folder: another process opens it for itself."""
        return Latents, (self.path,)

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, split: str) -> NDArray[np.int64]:
        """The rows of "train", "val" or "test", in order."""
        return np.flatnonzero(self.split == SPLITS.index(split))

    def values(self, rows: Iterable[int]) -> NDArray[np.float32]:
        """Latents [k D *g] as the codec gave them."""
        return np.stack([self._row("latents", row) for row in rows])

    def tokens(self, rows: Iterable[int]) -> Tokens:
        """Tokens of these rows."""
        wanted = list(rows)
        levels = range(len(self.info.codebook_sizes))
        grids = tuple(
            np.stack([self._row(f"tokens.{level}", row) for row in wanted]).astype(np.int64)
            for level in levels
        )
        return Tokens(grids, self.info.codebook_sizes)

    def affine(self, rows: Iterable[int]) -> Affine:
        """What undoes the normalizer of these rows, [k C]."""
        wanted = list(rows)
        shift, scale = (np.stack([self._row(name, row) for row in wanted]) for name in ("shift", "scale"))
        return Affine(shift, scale)

    def source(self, rows: Iterable[int]) -> list[dict[str, Any]]:
        """Where rows were cut from: `file`, `signal` and `start` (a place along each axis)."""
        wanted = [self._place(row) for row in rows]
        lines = {
            number: (self.path / rows_name(number)).read_text(encoding="utf-8").splitlines()
            for number in {shard for shard, _ in wanted}
        }
        return [json.loads(lines[shard][inside]) for shard, inside in wanted]

    def _row(self, name: str, row: int) -> NDArray[Any]:
        shard, inside = self._place(row)
        return self._shards[shard].row(name, inside)

    def _place(self, row: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._ends, row, side="right"))
        return shard, row - (int(self._ends[shard - 1]) if shard else 0)


class _Shard:
    """An open shard, memory-mapped by safetensors: data, never code."""

    def __init__(self, path: Path, rows: int, info: LatentsInfo) -> None:
        self._path = path
        try:
            self._file = _open(path)
            found = {name: self._file.get_slice(name) for name in self._file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise self._damaged(str(error)) from error
        self._tensors = found
        for name, (dtypes, shape) in _expected(rows, info).items():
            if name not in found:
                raise self._damaged(f"it has no {name}")
            if found[name].get_dtype() not in dtypes or tuple(found[name].get_shape()) != shape:
                raise self._damaged(f"{name} is {found[name].get_dtype()} {found[name].get_shape()}")

    def small(self, name: str, dtype: type[np.generic]) -> NDArray[Any]:
        return np.asarray(self._tensors[name][:], dtype)

    def row(self, name: str, row: int) -> NDArray[Any]:
        value: NDArray[Any] = self._tensors[name][row]
        return value

    def _damaged(self, what: str) -> DataError:
        return DataError(
            f"damaged latents: {what}",
            where=str(self._path),
            how="remove the file, and run the same `anycodec latents` again",
        )


def _open(path: Path) -> Any:
    """The untyped reader of safetensors."""
    return safe_open(path, framework="numpy")


def _expected(rows: int, info: LatentsInfo) -> Mapping[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Types and shapes of the tensors of a shard."""
    tokens = {f"tokens.{level}": (("U16", "U32"), (rows, *grid)) for level, grid in enumerate(info.grids)}
    return {
        "latents": (("F32",), (rows, *info.shape)),
        "labels": (("I32",), (rows,)),
        "split": (("U8",), (rows,)),
        "shift": (("F32",), (rows, info.in_channels)),
        "scale": (("F32",), (rows, info.in_channels)),
        **tokens,
    }


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:05d}.safetensors"


def rows_name(number: int) -> str:
    """File name of the places that the rows of a shard come from."""
    return f"rows-{number:05d}.jsonl"
