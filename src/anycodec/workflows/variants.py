"""The forms in which a POD5 file is called: as it is, with fewer bits, through codecs, within a bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from anycodec.bitstream.container import AczReader, Bound
from anycodec.errors import RunError
from anycodec.io.pod5_adc import adc_reads, truncate, write_changed
from anycodec.workflows.compress import SUFFIX, compress_file
from anycodec.workflows.decompress import decompress_file
from anycodec.workflows.pipeline import Pipeline

Kind = Literal["lossless", "truncated", "codec", "bound"]
Sizes = Mapping[str, int]
"""Bytes by what they are for."""
_SLACK = 0.01
"""Of a count, so that rounding of a bound in pA does not cost one."""


class Variant(Protocol):
    """A way to store a POD5 file.

    Attributes:
        name: as results show it.
        kind: what it is.
    """

    name: str
    kind: ClassVar[Kind]

    def restore(self, source: Path, folder: Path) -> tuple[Path, Sizes]:
        """The file after storing and restoring, a new one in `folder` or itself, and what storing took.

        Raises:
            DataError: not a usable POD5 file, or one that the codec does not take.
            ResourceError: the disk is full.
        """


class Lossless:
    """As the pod5 library stores it."""

    name = "lossless"
    kind: ClassVar[Kind] = "lossless"

    def restore(self, source: Path, folder: Path) -> tuple[Path, Sizes]:
        return source, _vbz_sizes(source)


class Truncated:
    """Counts rounded to multiples of 2^bits, as the pod5 library stores the multiples' numbers."""

    kind: ClassVar[Kind] = "truncated"

    def __init__(self, bits: int) -> None:
        self.name = f"- {bits} LSB"
        self._bits = bits

    def restore(self, source: Path, folder: Path) -> tuple[Path, Sizes]:
        target = folder / source.name
        write_changed(source, target, partial(truncate, bits=self._bits))
        return target, _vbz_sizes(target, self._bits)


class Coded:
    """Through an `.acz` file; everything in it counts.

    Args:
        run: folder of the run.
        name: as results show it.
        device: where to compute.

    Raises:
        RunError: not a finished run, or one for other data.
        UserError: a codec without tokens.
    """

    kind: ClassVar[Kind] = "codec"

    def __init__(self, run: Path, name: str, device: str) -> None:
        self.name = name
        self.pipeline = Pipeline.open(run, device)
        self.pipeline.require_tokens()
        found = self.pipeline.source.type
        if found != "pod5":
            raise RunError(
                f"bases are called from POD5 files, and this run codes {found} data", where=str(run)
            )

    def restore(self, source: Path, folder: Path) -> tuple[Path, Sizes]:
        return _through(self.pipeline, source, folder)


class Bounded:
    """Through an `.acz` file whose samples are within a bound.

    Args:
        codec: the run, which codes where that takes fewer bytes than prediction alone.
        counts: the most that an ADC count may be off by.
    """

    kind: ClassVar[Kind] = "bound"

    def __init__(self, codec: Coded, counts: int) -> None:
        self.name = f"within {counts}"
        self._pipeline, self._counts = codec.pipeline, counts

    def restore(self, source: Path, folder: Path) -> tuple[Path, Sizes]:
        steps = [abs(read.scale) for read in adc_reads(source)]
        bound = Bound(max_error=(self._counts + _SLACK) * min(steps, default=0.0))
        return _through(self._pipeline, source, folder, bound)


def _through(
    pipeline: Pipeline, source: Path, folder: Path, bound: Bound | None = None
) -> tuple[Path, Sizes]:
    """A file through an `.acz` file in `folder`, and the bytes of that."""
    packed, target = folder / (source.name + SUFFIX), folder / source.name
    compress_file(pipeline, source, packed, bound)
    decompress_file(packed, target, pipeline)
    with AczReader(packed) as reader:
        sizes = reader.sizes()
    packed.unlink()
    return target, sizes


def _vbz_sizes(path: Path, dropped: int = 0) -> Sizes:
    """Samples alone: the tables of the file, which a codec's file replaces too, are left out."""
    return Counter(samples=sum(read.vbz_bytes(dropped) for read in adc_reads(path)))
