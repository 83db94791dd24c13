"""Reads of a POD5 file as ADC counts, and the same file with fewer bits a count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anycodec.io.base import Reader
from anycodec.io.formats import default_source, open_file
from anycodec.io.pod5 import Pod5Format
from anycodec.io.pod5_fields import USUAL, to_adc, to_picoamperes
from anycodec.io.pod5_writer import Chunks
from anycodec.types import Meta, Signal

Counts = NDArray[np.int16]
Change = Callable[[Counts], Counts]

_WHOLE = 2**40
"""A block that no read exceeds."""


@dataclass(frozen=True, slots=True)
class AdcRead:
    """A whole read.

    Attributes:
        id: read id.
        adc: counts [T].
        offset, scale: pA = (ADC + offset) * scale.
    """

    id: str
    adc: Counts
    offset: float
    scale: float

    @property
    def picoamperes(self) -> NDArray[np.float32]:
        """Current [T] in pA."""
        return to_picoamperes(self.adc, self.offset, self.scale)

    def vbz_bytes(self, dropped: int = 0) -> int:
        """Size of its samples as the pod5 library compresses them, without the file's tables.

        Args:
            dropped: lowest bits that are zero and shifted away; a file can say so by its calibration.
        """
        chunks = Chunks(vbz=True)
        chunks.add(self.adc >> dropped)
        return sum(len(stored) for stored in chunks.finish().stored)


def adc_reads(path: Path) -> Iterator[AdcRead]:
    """All reads in order, one in memory at a time.

    Raises:
        DataError: not a usable POD5 file.
        MissingExtra: the pod5 library is not installed.
    """
    with _open(path) as reader:
        for signal in reader.segments(_WHOLE):
            fields = USUAL | dict(signal.info.meta)
            offset, scale = fields["calibration_offset"], fields["calibration_scale"]
            yield AdcRead(signal.info.id, to_adc(signal.values[:, 0], offset, scale), offset, scale)


def run_infos(path: Path) -> list[Meta]:
    """The run info records of a file: flow cell, kit, sample rate and so on.

    Raises:
        DataError: not a usable POD5 file.
    """
    with _open(path) as reader:
        return list(reader.info.meta["run_infos"])


def truncate(adc: Counts, bits: int) -> Counts:
    """Counts rounded to multiples of 2^bits."""
    step = 1 << bits
    limits = np.iinfo(np.int16)
    rounded = (adc.astype(np.int32) + step // 2) // step * step
    return np.clip(rounded, limits.min, limits.max).astype(np.int16)


def write_changed(source: Path, target: Path, change: Change) -> None:
    """The file with other counts, everything else as it was.

    Args:
        source: a POD5 file.
        target: the new one.
        change: the counts [T] of a read -> as many others.

    Raises:
        DataError: not a usable POD5 file.
        ResourceError: the disk is full.
    """
    with _open(source) as reader:
        info = replace(reader.info, path=str(target))
        Pod5Format().write(target, info, (_changed(part, change) for part in reader.segments(_WHOLE)))


def _open(path: Path) -> Reader:
    return open_file(path, default_source("pod5"))


def _changed(signal: Signal, change: Change) -> Signal:
    fields = USUAL | dict(signal.info.meta)
    offset, scale = fields["calibration_offset"], fields["calibration_scale"]
    adc = change(to_adc(signal.values[:, 0], offset, scale))
    return replace(signal, values=to_picoamperes(adc, offset, scale)[:, None])
