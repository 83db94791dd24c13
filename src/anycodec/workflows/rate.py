"""Rate control: the operating point of a run that comes nearest to a rate, a ratio or a quality.

Points are the numbers of residual stages that are kept, and steps of the scalar quantisation behind an error
bound. Each is measured on a sample of the file, coded and restored as the file would be.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.container import AczReader, AczWriter, Bound
from anycodec.errors import DataError, UserError
from anycodec.io.base import Reader
from anycodec.io.formats import get_format
from anycodec.types import FileInfo, Signal, SignalInfo
from anycodec.workflows.levels import operating_points, with_levels
from anycodec.workflows.pipeline import Pipeline

Goal = Literal["rate", "ratio", "quality"]
_SUFFIXES = {"": None, "bits": None, "bpp": "pixel", "bps": "sample", "bpv": "value"}
_PIECES = 4
"""Stretches of a file that are coded to measure it."""
_PIECE_VALUES = 2**13
_PIECE_FRAMES = 8
_STEPS = range(-40, 17)
"""Error bounds to try: quarters of an octave around the deviation of the values."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a file should come to.

    Attributes:
        goal: rate in bits a unit, ratio of native size to file size, or quality in dB.
        value: the most bits, the least ratio or quality.
        unit: what `rate` counts, None = what is usual for the data.
    """

    goal: Goal
    value: float
    unit: str | None = None

    def __str__(self) -> str:
        return f"--{self.goal} {self.value:g}"


def make_target(
    rate: str | None, ratio: float | None, quality: float | None, bound: Bound | None = None
) -> Target | None:
    """What options ask for beside a bound, None where they ask for nothing.

    Raises:
        UserError: more than one of them, or not such numbers.
    """
    given = [
        name for name, value in (("rate", rate), ("ratio", ratio), ("quality", quality)) if value is not None
    ]
    if len(given) > 1:
        raise UserError(f"--{given[0]} and --{given[1]} exclude each other", how="give one of them")
    if given and bound is not None:
        raise UserError(f"--{given[0]} chooses a bound of the error itself", how="leave --max-error out")
    if rate is not None:
        found = re.fullmatch(r"\s*([0-9.]+)\s*([a-z]*)\s*", rate)
        if found is None or found[2] not in _SUFFIXES or not _is_positive(found[1]):
            raise UserError(f"--rate {rate} is no rate", how="give bits, such as 2.0 or 0.5bpp")
        return Target("rate", float(found[1]), _SUFFIXES[found[2]])
    if ratio is not None:
        if not ratio > 0:
            raise UserError(f"--ratio {ratio:g} is no ratio", how="give one such as 20")
        return Target("ratio", ratio)
    return None if quality is None else Target("quality", quality)


def _is_positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Point:
    """A way to code a file, and what it came to on a sample.

    Attributes:
        levels: how many levels of tokens are stored.
        bound: of the error, None = tokens alone.
        bits: a unit.
        quality: PSNR of pictures and video, SNR of series, dB.
    """

    levels: int
    bound: Bound | None
    bits: float
    quality: float


class Measured:
    """A native file whose operating points are measured on a sample of it.

    Args:
        pipeline: the run.
        source: the file.

    Attributes:
        levels: of the run.
        sample: stretches from all over the file.
        unit: what bits are counted for: sample, value or pixel.
        units: how many the file has.
        native_bits: of one, uncompressed.
    """

    def __init__(self, pipeline: Pipeline, source: Path) -> None:
        self._pipeline = pipeline
        self.levels = len(pipeline.codec.codebook_sizes)
        with get_format(pipeline.source.type).open(source, pipeline.source) as reader:
            infos = list(reader.signals())
            if not sum(_values(info, info.length) for info in infos):
                raise DataError("the file holds no values", where=str(source))
            self._file: FileInfo = reader.info
            self.sample = [piece for piece in _pieces(reader, infos, pipeline) if piece.values.size]
        first = infos[0]
        self.unit = "sample" if first.axes == "TC" and first.n_channels == 1 else "value"
        self.unit = "pixel" if first.axes != "TC" else self.unit
        per = first.n_channels if self.unit == "pixel" else 1
        self.units = sum(_values(info, info.length) for info in infos) // per
        self.native_bits = 8 * np.dtype(first.dtype).itemsize * per
        self._share = sum(piece.values.size for piece in self.sample) / (self.units * per)
        self._apart = first.axes == "TC" and first.n_channels > 1
        """Channels may differ in scale: each has a bound of its own."""
        self._scale = _deviation(self.sample)
        self._tokens = cache(self._measured_tokens)
        self._steps = cache(self._measured_step)
        self._header = self._rest = 0

    def most_bits(self, target: Target) -> float:
        """Bits a unit that a target allows.

        Raises:
            UserError: it counts something that the file has not.
        """
        if target.goal == "ratio":
            return self.native_bits / target.value
        if target.unit not in (None, self.unit):
            raise UserError(
                f"a rate a {target.unit} was asked for; of this file it is counted a {self.unit}",
                how="leave the unit out",
            )
        return target.value

    def tokens(self) -> list[Point]:
        """Points without a bound, from the fewest levels to all."""
        return [self._tokens(levels) for levels in operating_points(self._pipeline)]

    def step(self, number: int) -> Point:
        """The point whose error bound is 2^(number / 4) deviations, or sixths of each channel's range."""
        return self._steps(number)

    def payload(self, size: int, found: list[NDArray[Any]]) -> tuple[float, float]:
        """Bits a unit and quality of another codec, by its bytes for the sample and what it restored."""
        return 8 * size / self._share / self.units, _quality(self.sample, found)

    def candidates(self, target: Target) -> list[Point]:
        """Points that keep to a target, the one to take first.

        Of those below a rate that is the best, of those of a quality the smallest.
        """
        if target.goal == "quality":
            coarsest = _last(_STEPS, lambda number: self.step(number).quality >= target.value)
            found = [point for point in self.tokens() if point.quality >= target.value]
            found += [] if coarsest is None else [self.step(coarsest)]
            return sorted(found, key=lambda point: point.bits)
        most = self.most_bits(target)
        found = [point for point in self.tokens() if point.bits <= most]
        finest = _last(_STEPS[::-1], lambda number: self.step(number).bits <= most)
        if finest is not None:
            found += [self.step(number) for number in range(finest, min(finest + 4, _STEPS[-1]) + 1)]
        return sorted(found, key=lambda point: -point.quality)

    def reachable(self) -> list[Point]:
        """The ends of what can be reached, and all points without a bound."""
        return [*self.tokens(), self.step(_STEPS[0]), self.step(_STEPS[-1])]

    def with_point(self, point: Point, target: Target) -> Pipeline:
        """The run as a point uses it; files that it writes say so."""
        chosen = with_levels(self._pipeline, point.levels)
        entry = {"asked": str(target), "levels": point.levels, "of": self.levels}
        return chosen.noting_rate(entry)

    def reached(self, point: Point, bits: float) -> str:
        """What was reached, for people."""
        how = "" if self.levels == 1 and point.bound is None else f"{point.levels} of {self.levels} levels, "
        if point.bound is not None:
            of = " of its channel's range" if point.bound.unit == "relative" else ""
            how += f"every value within {point.bound.max_error:.4g}{of}, "
        ratio = self.native_bits / bits
        return f"{how}{bits:.4g} bits/{self.unit} ({ratio:.3g} : 1), about {point.quality:.1f} dB"

    def _measured_tokens(self, levels: int) -> Point:
        return self._measure(levels)

    def _measured_step(self, number: int) -> Point:
        from anycodec.workflows.compress import make_header
        from anycodec.workflows.within_bound import BoundedEncoder

        step = 2 ** (number / 4)
        bound = (
            Bound(max_error=step / 6, unit="relative") if self._apart else Bound(max_error=self._scale * step)
        )
        self._tokens(self.levels)
        header = make_header(self._pipeline, self._file, bound)
        unused = AczWriter(Path("unused"), header, self._pipeline.coder)
        encoder = BoundedEncoder(self._pipeline, unused, self._file, bound)
        found = [encoder.estimate(piece) for piece in self.sample]
        return self._point(
            self.levels, bound, sum(size for size, _ in found), [values for _, values in found]
        )

    def _measure(self, levels: int) -> Point:
        """Code the sample with tokens alone, restore it and compare."""
        from anycodec.workflows.compress import make_header, write_signals
        from anycodec.workflows.decompress import restored

        pipeline = with_levels(self._pipeline, levels)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "sample.acz")
            with AczWriter(path, make_header(pipeline, self._file), pipeline.coder) as writer:
                write_signals(writer, pipeline, iter(self.sample), self._file, None)
            with AczReader(path) as reader:
                header, tokens = reader.totals.header, reader.totals.token_bytes + reader.totals.statistics
                found = [signal.values for signal in restored(reader, pipeline)]
                rest = reader.size - header - tokens
        self._header, self._rest = header, rest
        return self._point(levels, None, tokens, found)

    def _point(self, levels: int, bound: Bound | None, size: int, found: list[NDArray[Any]]) -> Point:
        """A point whose tokens, statistics and residuals take `size` bytes in the sample."""
        total = self._header + (self._rest + size) / self._share
        return Point(levels, bound, 8 * total / self.units, _quality(self.sample, found))


def choose(measured: Measured, target: Target, source: Path) -> list[Point]:
    """The points that keep to a target, the one to take first.

    Raises:
        DataError: none does; says what can be reached.
    """
    points = measured.candidates(target)
    if not points:
        raise out_of_reach(measured, target, source)
    return points


def out_of_reach(measured: Measured, target: Target, source: Path) -> DataError:
    """The error where no point keeps to a target."""
    points = measured.reachable()
    low, high = min(point.bits for point in points), max(point.bits for point in points)
    worst, best = min(point.quality for point in points), max(point.quality for point in points)
    bits = f"{low:.3g} to {high:.3g} bits/{measured.unit}"
    ratios = f"ratios of {measured.native_bits / high:.3g} to {measured.native_bits / low:.3g}"
    return DataError(
        f"{target} is out of reach: this run reaches {bits} ({ratios}) at {worst:.1f} to {best:.1f} dB here",
        where=str(source),
        how="ask for something within, or use a run of another rate",
    )


def _last(numbers: range, holds: Callable[[int], bool]) -> int | None:
    """The last number for which something holds that stops holding once; None where it never does."""
    if not holds(numbers[0]):
        return None
    low, high = 0, len(numbers)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(numbers[middle]) else (low, middle)
    return numbers[low]


def _values(info: SignalInfo, length: int) -> int:
    shape = info.shape if info.axes == "HWC" else (length, *info.shape[1:])
    return math.prod(shape)


def _pieces(reader: Reader, infos: list[SignalInfo], pipeline: Pipeline) -> Iterator[Signal]:
    """Stretches all over a file."""
    seen = set()
    for piece in range(_PIECES):
        place = (piece + 0.5) / _PIECES * len(infos)
        index = int(place)
        info = infos[index]
        window = pipeline.windower.size[0] if len(pipeline.windower.size) == 1 else 1
        wanted = max(8 * window, _PIECE_VALUES // info.n_channels) if info.axes == "TC" else _PIECE_FRAMES
        wanted = min(wanted, pipeline.windower.block(info)) if info.axes != "HWC" else 1
        start = int((place - index) * max(0, info.length - wanted))
        if (index, start) not in seen:
            seen.add((index, start))
            yield reader.fetch(index, start, start + wanted)


def _deviation(sample: list[Signal]) -> float:
    deviations = [float(np.std(piece.values.astype(np.float64))) for piece in sample]
    found = max(deviations)
    return found if found > 0 else 1.0


def _quality(sample: list[Signal], found: list[NDArray[Any]]) -> float:
    """PSNR where values have a range, else SNR around the mean of each channel of each stretch."""
    power = errors = count = 0.0
    for signal, values in zip(sample, found, strict=True):
        original = signal.values.astype(np.float64)
        mask = np.ones(original.shape, bool) if signal.mask is None else signal.mask
        error = np.where(mask, original - values.astype(np.float64), 0)
        axes = tuple(range(original.ndim - 1))
        kept = np.maximum(mask.sum(axis=axes), 1)
        mean = np.where(mask, original, 0).sum(axis=axes) / kept
        errors += float(np.square(error).sum())
        power += float(np.square(np.where(mask, original - mean, 0)).sum())
        count += float(mask.sum())
    limits = sample[0].info.value_range
    if limits is not None:
        power = (limits[1] - limits[0]) ** 2 * count
    return math.inf if errors == 0 else 10 * math.log10(power / errors) if power else -math.inf
