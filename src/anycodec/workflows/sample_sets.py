"""Real and generated files as equal arrays that a classifier and a distance can look at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.config.data import DataSpec, ImageSource
from anycodec.data.channels import codec_values
from anycodec.data.loader import find_signals
from anycodec.data.readers import Readers
from anycodec.data.resample import open_at_rate
from anycodec.data.split import Piece, Split, make_split
from anycodec.engine import Windows
from anycodec.errors import DataError
from anycodec.metrics.area import area_resized
from anycodec.metrics.colour import jet_levels, jet_misfit

PICTURE_SIZE = (64, 64)
"""Rows and columns that pictures are brought to."""
MOST_SAMPLES = 20_000
"""Samples of a set that are looked at; of more, every second, third, ..."""
LARGEST_JET_MISFIT = 0.15
"""Mean distance to the jet colours up to which pictures count as such; grey ones are at .3 and more."""
_PICTURES_LOOKED_AT = 32


@dataclass(frozen=True, slots=True)
class SampleSet:
    """Samples side by side.

    Attributes:
        values: [N C H W] in [0, 1] for pictures, [N C T] in native units for series.
        labels: [N] places in the list of classes.
        names: where each is from.
    """

    values: Windows
    labels: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> SampleSet:
        return SampleSet(self.values[rows], self.labels[rows], tuple(self.names[i] for i in rows))

    def joined(self, other: SampleSet) -> SampleSet:
        values = np.concatenate([self.values, other.values])
        return SampleSet(values, np.concatenate([self.labels, other.labels]), self.names + other.names)


@dataclass(frozen=True, slots=True)
class Parts:
    """Samples by the part they play.

    Attributes:
        train: real ones to learn from.
        test: real ones that nothing is learned from, later in time.
        generated: any number a class.
        n_classes: K.
    """

    train: SampleSet
    test: SampleSet
    generated: SampleSet
    n_classes: int


@dataclass(frozen=True, slots=True)
class Scale:
    """To mean 0 and deviation 1 of real training samples: of all pixels, of each channel of series."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    @classmethod
    def of(cls, train: SampleSet) -> Scale:
        axes = (0, 2) if train.values.ndim == 3 else (0, 1, 2, 3)
        mean, deviation = (f(train.values, axis=axes, keepdims=True) for f in (np.mean, np.std))
        return cls(mean, np.where(deviation > 0, deviation, 1).astype(np.float32))

    def __call__(self, values: Windows) -> Windows:
        scaled: Windows = (values - self.mean) / self.deviation
        return scaled


@dataclass(frozen=True, slots=True)
class Layout:
    """How samples become arrays.

    Attributes:
        jet: pictures show levels in jet colours.
        channels: of the arrays.
        length: samples a window of a series, None for pictures.
        separate: each channel of a series is a sample of its own.
    """

    jet: bool
    channels: int
    length: int | None
    separate: bool = False

    @property
    def pictures(self) -> bool:
        return self.length is None


def find_split(source: DataSpec) -> Split:
    """The parts of the real data.

    Raises:
        DataError: no usable data, or nothing left to test with.
    """
    split = make_split(find_signals(source), source)
    if not split.test:
        raise DataError(
            "the split leaves nothing to test with",
            where="--split",
            how="use more data, a smaller guard, or a manifest that has a test part",
        )
    return split


def find_pieces(source: DataSpec) -> tuple[Piece, ...]:
    """All of a set, whole."""
    return tuple(Piece(entry, 0, entry.length) for entry in find_signals(source).entries)


def common_classes(real: Split, generated: Sequence[Piece], *, labelled: bool) -> tuple[str, ...]:
    """Names of the classes of the training part, which test and generated samples must be of.

    Raises:
        DataError: no classes where they are needed, or generated samples of none of them.
    """
    if not labelled:
        return ("all",)
    names = tuple(dict.fromkeys(piece.label for piece in real.train if piece.label is not None))
    if len(names) < 2:
        raise DataError(
            f"the training part has {len(names)} classes, two are the least to tell apart",
            where="--real",
            how="put the files of each class into a folder of its own",
        )
    found = {piece.label for piece in generated}
    unknown = sorted(str(label) for label in found - set(names))
    if unknown:
        raise DataError(
            f"generated samples are of classes that the real ones don't have: {', '.join(unknown[:5])}",
            where="--synthetic",
            how=f"name their folders as those of the real data: {', '.join(names[:5])} ...",
        )
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(
            f"{len(missing)} classes have no generated samples: {', '.join(missing[:5])}",
            where="--synthetic",
            how="generate some: anycodec sample RUN --class NAME",
        )
    return names


def find_layout(source: DataSpec, real: Split, generated: Sequence[Piece], length: int | None) -> Layout:
    """How both sets become equal arrays.

    Args:
        source: settings that files are read with.
        real: decides about colours and channels.
        generated: of series, the shortest decides about the length unless that is given.
        length: samples a window of a series.

    Raises:
        DataError: windows longer than a set has them.
    """
    channels = real.train[0].entry.n_channels
    if isinstance(source, ImageSource):
        jet = channels == 3 and shows_jet(source, real.train)
        return Layout(jet, 3 if channels == 3 and not jet else 1, None)
    shortest = min(piece.length for piece in generated)
    if (length or shortest) > shortest:
        raise DataError(
            f"windows of {length} samples, and a generated series has {shortest}",
            where="--window",
            how=f"give at most --window {shortest}",
        )
    separate = generated[0].entry.n_channels == 1 < channels  # of a codec of one channel at a time
    return Layout(False, 1 if separate else channels, length or shortest, separate)


def load(
    pieces: Sequence[Piece], source: DataSpec, layout: Layout, classes: Sequence[str], what: str
) -> SampleSet:
    """Read samples; of more than `MOST_SAMPLES` files every second, third, ...

    Args:
        pieces: what to read.
        source: settings that files are read with.
        layout: as what.
        classes: names of the classes; a single one takes everything.
        what: the part of the data, for messages.

    Raises:
        DataError: unreadable files, other channels, or no window that is long enough.
    """
    places = {name: place for place, name in enumerate(classes)}
    step = math.ceil(len(pieces) / MOST_SAMPLES)
    values: list[Windows] = []
    labels: list[int] = []
    names: list[str] = []
    readers = Readers(source, open_at_rate)
    for piece in pieces[::step]:
        label = 0 if len(classes) == 1 else places.get(piece.label or "")
        if label is None:
            continue
        signal = readers.fetch(piece.path, piece.signal, piece.start, piece.stop)
        found = (
            _picture(signal.values, layout, piece.path)
            if layout.pictures
            else _windows(signal.values, layout)
        )
        values += found
        labels += [label] * len(found)
        names += [piece.path] * len(found)
    readers.close()
    if not values:
        raise DataError(f"no {what} sample is left", how="use more data, or shorter windows: --window")
    return SampleSet(np.stack(values), np.array(labels, np.int64), tuple(names))


def check_classes(samples: SampleSet, classes: Sequence[str], what: str, least: int) -> None:
    """Refuse classes of too few samples.

    Raises:
        DataError: names them.
    """
    counts = np.bincount(samples.labels, minlength=len(classes))
    few = [f"{name} has {count}" for name, count in zip(classes, counts, strict=True) if count < least]
    if few:
        raise DataError(
            f"{what}: at least {least} samples of each class are needed; {', '.join(few[:5])}",
            how="use more data, another split, or leave the class out",
        )


def picture_levels(pixels: NDArray[Any], *, jet: bool, channels: int, where: str) -> Windows:
    """A picture's values [H W C] as [channels H W] in [0, 1].

    Args:
        pixels: 8 or 16 bit.
        jet: colours are jet colours, and stand for levels.
        channels: 1 or 3.
        where: the file, for messages.

    Raises:
        DataError: other channels.
    """
    highest = 65535.0 if pixels.dtype == np.uint16 else 255.0
    if pixels.shape[-1] == 3 and jet:
        return np.repeat(jet_levels(pixels)[None], channels, axis=0)
    if pixels.shape[-1] == 3 and channels == 1:
        return np.asarray(pixels.mean(axis=-1, dtype=np.float32)[None] / highest)
    return np.asarray(codec_values(pixels, channels, where).transpose(2, 0, 1) / highest)


def _picture(pixels: NDArray[Any], layout: Layout, path: str) -> list[Windows]:
    levels = picture_levels(pixels, jet=layout.jet, channels=layout.channels, where=path)
    return [area_resized(levels, PICTURE_SIZE)]


def _windows(values: NDArray[Any], layout: Layout) -> list[Windows]:
    """[T C] -> windows [C T], end to end; of separate channels [1 T], one channel after the other."""
    length = layout.length or len(values)
    ends = range(length, len(values) + 1, length)
    if layout.separate:
        return [
            values[end - length : end, c][None].astype(np.float32)
            for c in range(values.shape[-1])
            for end in ends
        ]
    if values.shape[-1] != layout.channels:
        raise DataError(
            f"a series has {values.shape[-1]} channels, others have {layout.channels}",
            how="compare sets of the same columns",
        )
    return [values[end - length : end].astype(np.float32).T for end in ends]


def shows_jet(source: DataSpec, pieces: Sequence[Piece]) -> bool:
    """Whether pictures keep to the jet colours."""
    chosen = pieces[:: math.ceil(len(pieces) / _PICTURES_LOOKED_AT)]
    return float(np.mean([jet_misfit(pixels) for pixels in _pixels(source, chosen)])) <= LARGEST_JET_MISFIT


def _pixels(source: DataSpec, pieces: Iterable[Piece]) -> Iterable[NDArray[np.uint8]]:
    readers = Readers(source, open_at_rate)
    for piece in pieces:
        yield readers.fetch(piece.path, piece.signal, 0, 1).values
    readers.close()
