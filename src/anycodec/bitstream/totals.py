"""What a file holds in total, stored in its END section."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields
from typing import Any

import numpy as np

from anycodec.bitstream.fields import LARGEST_UINT, FieldReader, FieldWriter
from anycodec.bitstream.frame import TOKENS_ONLY
from anycodec.bitstream.restoration import PATHS
from anycodec.bitstream.segment import values_shape
from anycodec.types import SignalInfo

TokenShapes = Sequence[tuple[int, ...]]
"""Shape [N *g] of the token grid of each level."""


@dataclass(slots=True)
class Totals:
    """Sums over a file, counted along while it is written or read.

    Attributes:
        signals, segments, windows, tokens: how many.
        samples: samples of 1-D signals, frames, pictures.
        values: scalar values (samples or pixels x channels).
        pixels: pixels of pictures and frames, 0 for 1-D signals.
        native_bytes: size of the values in their native type, uncompressed.
        header, metadata: bytes of the header's payload and of the SIGNAL payloads.
        token_bytes, statistics, masks, attachments: bytes of these parts of the SEGMENT payloads.
        residuals, side_information: bytes of restorations; from here on in files of version 2.
        models: bytes of the MODEL payloads.
        plain, codec, raw: segments restored by these paths.
    """

    signals: int = 0
    segments: int = 0
    windows: int = 0
    tokens: int = 0
    samples: int = 0
    values: int = 0
    pixels: int = 0
    native_bytes: int = 0
    header: int = 0
    metadata: int = 0
    token_bytes: int = 0
    statistics: int = 0
    masks: int = 0
    attachments: int = 0
    residuals: int = 0
    side_information: int = 0
    models: int = 0
    plain: int = 0
    codec: int = 0
    raw: int = 0

    def add_signal(self, payload_size: int) -> None:
        self.signals += 1
        self.metadata += payload_size

    def add_segment(
        self, info: SignalInfo, length: int, tokens: TokenShapes, sizes: Mapping[str, int]
    ) -> None:
        """Count a segment of `length` samples or frames with its bytes by category."""
        shape = values_shape(info, length)
        self.segments += 1
        self.windows += tokens[0][0]
        self.tokens += sum(map(math.prod, tokens))
        self.samples += length
        self.values += math.prod(shape)
        if info.axes != "TC":
            self.pixels += math.prod(shape[:-1])
        self.native_bytes += math.prod(shape) * np.dtype(info.dtype).itemsize
        self.token_bytes += sizes["tokens"]
        self.statistics += sizes["statistics"]
        self.masks += sizes["masks"]
        self.attachments += sizes["attachments"]
        self.residuals += sizes["residuals"]
        self.side_information += sizes["side information"]

    def add_path(self, path: int) -> None:
        """Count a segment that is restored by this path."""
        name = PATHS[path]
        setattr(self, name, getattr(self, name) + 1)

    def sizes(self, file_size: int) -> dict[str, int]:
        """Bytes by category; they add up to the file's size."""
        parts = {
            "tokens": self.token_bytes,
            "statistics": self.statistics,
            "masks": self.masks,
            "attachments": self.attachments,
            "residuals": self.residuals,
            "side information": self.side_information,
            "models": self.models,
            "metadata": self.metadata,
            "header": self.header,
        }
        if not (self.plain or self.codec or self.raw):
            for name in ("residuals", "side information", "models"):
                del parts[name]
        return parts | {"container": file_size - sum(parts.values())}


def pack_totals(last_index: int, totals: Totals, version: int) -> bytes:
    """Payload of the END section.

    Args:
        last_index: offset of the last INDEX section, 0 where there is none.
        totals: all sums, in the order of their declaration; zeros at the end are left out in version 2.
        version: of the file.
    """
    payload = FieldWriter()
    payload.uint(last_index)
    sums = [getattr(totals, part.name) for part in _stored(version)]
    while version != TOKENS_ONLY and sums and not sums[-1]:
        sums.pop()
    for value in sums:
        payload.uint(value)
    return bytes(payload.data)


def unpack_totals(payload: bytes, version: int) -> tuple[int, Totals]:
    """Inverse of `pack_totals`.

    Raises:
        Damaged: not totals.
    """
    reader = FieldReader(payload)
    last_index = reader.uint(LARGEST_UINT, "offset of the last index")
    sums = []
    for part in _stored(version):
        if version != TOKENS_ONLY and not reader.left:
            break
        sums.append(reader.uint(LARGEST_UINT, part.name))
    reader.finish()
    totals = Totals(*sums)
    return last_index, totals


_OF_TOKENS = 14
"""Sums that files of version 1 hold."""


def _stored(version: int) -> Sequence[Field[Any]]:
    return fields(Totals)[: _OF_TOKENS if version == TOKENS_ONLY else None]
