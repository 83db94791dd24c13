"""The result of an evaluation as data: `evaluation.json` and `examples.npz` in the run directory.

Written by `workflows/evaluate.py`, shown by `workflows/report.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from anycodec.atomic import atomic_path
from anycodec.errors import RunError
from anycodec.metrics.rate import Rate
from anycodec.types import Skipped

Kind = Literal["1d", "image", "video"]
Scores = Mapping[str, float]
"""Figures by name: `rmse`, `mae`, `max_abs`, `snr`, `pearson`, `psnr`, `ssim`, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one coder reached on the evaluated signals.

    Attributes:
        description: one line: what it is.
        rate: its size, None where it gives nothing to store (continuous latents).
        original: errors in the signals' unit.
        normalised: errors in the network's unit.
    """

    description: str
    rate: Rate | None
    original: Scores
    normalised: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Values (samples, pixels x channels) a second, and on what."""

    encode: float
    decode: float
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A piece to look at, [T C] or [H W C], in the signals' unit.

    Attributes:
        title: where it is from: file, read, frame.
        start: index of its first sample or frame in the whole signal.
        channels: names of the channels.
        original, restored, baseline: the same shape; baseline None where there is none.
    """

    title: str
    original: NDArray[Any]
    restored: NDArray[Any]
    baseline: NDArray[Any] | None = None
    start: int = 0
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything a report shows about a codec on some files.

    Attributes:
        title: name of the run.
        kind: layout of the signals.
        unit: unit of the values, "" if unknown.
        sample_rate: samples or frames a second, None where there is none.
        n_files, n_signals: what was evaluated.
        codec: the codec's result.
        baseline: the yardstick's at the same rate, None where it was not fitted.
        token_counts: histogram of the tokens of each level.
        throughput: speed of the codec.
        skipped: what was left out, and why.
        versions: package or part -> version.
        value_range: lowest and highest value that pictures can show.
        features: name of the network whose features `fid` and `kid` compare, "" without them.
    """

    title: str
    kind: Kind
    unit: str
    sample_rate: float | None
    n_files: int
    n_signals: int
    codec: Result
    baseline: Result | None = None
    token_counts: Sequence[Sequence[int]] = ()
    throughput: Throughput | None = None
    skipped: Sequence[Skipped] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    value_range: tuple[float, float] | None = None
    features: str = ""

    def to_json(self) -> str:
        """Strict JSON; figures that are not finite are stored as "inf", "-inf" or "nan"."""
        return json.dumps(_plain(asdict(self)), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """Inverse of `to_json`; entries of other versions are passed over.

        Raises:
            RunError: not an evaluation.
        """
        try:
            return _evaluation(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunError(
                f"damaged evaluation: {error}", how="write it again: anycodec evaluate RUN"
            ) from error


def save_examples(path: Path, examples: Sequence[Example]) -> None:
    """Store examples as `.npz` without pickle, atomically."""
    arrays: dict[str, NDArray[Any]] = {}
    for i, example in enumerate(examples):
        heading = {"title": example.title, "start": example.start, "channels": example.channels}
        arrays[f"{i}/heading"] = np.array(json.dumps(heading))
        arrays[f"{i}/original"] = example.original
        arrays[f"{i}/restored"] = example.restored
        if example.baseline is not None:
            arrays[f"{i}/baseline"] = example.baseline
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_examples(path: Path) -> list[Example]:
    """Read what `save_examples` wrote; [] where there is no file.

    Raises:
        RunError: damaged.
    """
    if not path.is_file():
        return []
    try:
        with np.load(path, allow_pickle=False) as arrays:
            count = sum(name.endswith("/heading") for name in arrays)
            return [_example(arrays, i) for i in range(count)]
    except (ValueError, KeyError, OSError, BadZipFile) as error:
        raise RunError(f"damaged examples: {error}", where=str(path)) from error


def _example(arrays: Mapping[str, NDArray[Any]], i: int) -> Example:
    heading = json.loads(str(arrays[f"{i}/heading"]))
    return Example(
        title=str(heading["title"]),
        start=int(heading["start"]),
        channels=tuple(map(str, heading["channels"])),
        original=arrays[f"{i}/original"],
        restored=arrays[f"{i}/restored"],
        baseline=arrays.get(f"{i}/baseline"),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _evaluation(data: dict[str, Any]) -> Evaluation:
    speed, limits = data["throughput"], data["value_range"]
    parts = {
        "codec": _result(data["codec"]),
        "baseline": data["baseline"] and _result(data["baseline"]),
        "token_counts": tuple(tuple(map(int, level)) for level in data["token_counts"]),
        "throughput": speed and Throughput(**speed),
        "skipped": tuple(Skipped(**item) for item in data["skipped"]),
        "value_range": limits and (float(limits[0]), float(limits[1])),
    }
    known = {entry.name for entry in fields(Evaluation)}
    return Evaluation(**{name: value for name, value in data.items() if name in known} | parts)


def _result(data: dict[str, Any]) -> Result:
    rate = data["rate"] and Rate(**data["rate"])
    return Result(
        description=str(data["description"]),
        rate=rate and replace(rate, nominal=float(rate.nominal), entropy=float(rate.entropy)),
        original=_numbers(data["original"]),
        normalised=_numbers(data["normalised"]),
    )


def _numbers(data: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in data.items()}
