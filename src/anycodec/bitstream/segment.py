"""SEGMENT sections: tokens, statistics, mask and attachments of one segment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream import limits
from anycodec.bitstream.coarse import pack_coarse, read_coarse
from anycodec.bitstream.deflate import read_packed, write_packed
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.frame import TOKENS_ONLY
from anycodec.bitstream.restoration import side_information
from anycodec.types import Affine, SignalInfo, Tokens

CATEGORIES = ("tokens", "statistics", "masks", "attachments", "residuals", "side information")
"""What the bytes of a segment are spent on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentData:
    """A coded segment of a signal.

    Attributes:
        start: index of its first sample or frame within the signal.
        length: samples or frames; 1 for a picture.
        tokens: codes of its N windows.
        affine: statistics to undo the normalizer, None where the run or the type has them.
        mask: booleans shaped like its values, False where one was missing; None = all present.
        attachments: opaque bytes of the native file by name.
        restoration: what brings its values within the bound, see `restoration`; b"" = nothing.
        beside: how many of its windows are of the same time; a learned prior looks at those before.
    """

    start: int
    length: int
    tokens: Tokens
    affine: Affine | None = None
    mask: NDArray[np.bool_] | None = None
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    restoration: bytes = b""
    beside: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedSegment:
    """A segment whose tokens are still coded: reading it needs no codec.

    Attributes:
        shapes: shape [N *g] of the token grid of each level.
        streams: coded tokens of each level.
        sizes: bytes by category, see `CATEGORIES`.
        start, length, affine, mask, attachments, restoration: see `SegmentData`.
    """

    start: int
    length: int
    shapes: tuple[tuple[int, ...], ...]
    streams: tuple[bytes, ...]
    sizes: Mapping[str, int]
    affine: Affine | None
    mask: NDArray[np.bool_] | None
    attachments: Mapping[str, bytes]
    restoration: bytes = b""

    def decode(self, coder: AdaptiveCoder) -> SegmentData:
        """The segment with its tokens.

        Raises:
            Damaged: not token streams of this coder.
        """
        grids: list[NDArray[np.int64]] = []
        for level, (stream, shape) in enumerate(zip(self.streams, self.shapes, strict=True)):
            found = coder.by_prior(stream, shape, grids)
            if found is not None:
                grids.append(found)
                continue
            window = math.prod(shape[1:])
            symbols = coder.decode(stream, math.prod(shape), level, _coarser(grids, shape), window)
            grids.append(symbols.reshape(shape))
        return SegmentData(
            start=self.start,
            length=self.length,
            tokens=Tokens(tuple(grids), coder.codebook_sizes),
            affine=self.affine,
            mask=self.mask,
            attachments=self.attachments,
            restoration=self.restoration,
        )


_COARSE = 2
"""Added to the kind of statistics that are on the coarse grid."""


def values_shape(info: SignalInfo, length: int) -> tuple[int, ...]:
    """Shape of the values of a segment."""
    return info.shape if info.axes == "HWC" else (length, *info.shape[1:])


def pack_segment(
    number: int,
    info: SignalInfo,
    segment: SegmentData,
    coder: AdaptiveCoder,
    version: int = TOKENS_ONLY,
    *,
    coarse: bool = False,
) -> tuple[bytes, dict[str, int]]:
    """Payload of a SEGMENT section of signal `number`, and its bytes by category.

    `coarse`: statistics may be stored as places on the coarse grid.

    Raises:
        ValueError: tokens or a mask that don't fit the codec or the signal, or parts that the version of the
            file does not know.
    """
    tokens = segment.tokens
    if tokens.codebook_sizes != coder.codebook_sizes:
        raise ValueError(f"tokens of codebooks {tokens.codebook_sizes}, not {coder.codebook_sizes}")
    if len({len(grid) for grid in tokens.grids}) != 1:
        raise ValueError("levels with different numbers of windows")
    if sum(grid.size for grid in tokens.grids) > limits.MOST_TOKENS:
        raise ValueError(f"a segment of more than {limits.MOST_TOKENS} tokens")
    fields = FieldWriter()
    for value in (number, segment.start, segment.length, len(tokens)):
        fields.uint(value)
    marks = [len(fields.data)]
    for level, grid in enumerate(tokens.grids):
        coarser, window = _coarser(tokens.grids[:level], grid.shape), math.prod(grid.shape[1:])
        stream = coder.encode(grid.ravel(), level, coarser, window)
        _write_grid(fields, grid, coder.shorter(stream, tokens.grids[: level + 1], segment.beside))
    marks.append(len(fields.data))
    _write_affine(fields, segment.affine, len(tokens), coarse=coarse)
    marks.append(len(fields.data))
    _write_mask(fields, segment.mask, values_shape(info, segment.length))
    marks.append(len(fields.data))
    _write_attachments(fields, segment.attachments)
    marks.append(len(fields.data))
    if version != TOKENS_ONLY:
        _write_parts(fields, segment.restoration)
    elif segment.restoration:
        raise ValueError("a segment with a restoration in a file of version 1")
    marks.append(len(fields.data))
    return bytes(fields.data), _sizes(marks, segment.restoration)


def unpack_segment(
    number: int, info: SignalInfo, levels: int, payload: bytes, version: int = TOKENS_ONLY
) -> PackedSegment:
    """Inverse of `pack_segment`, up to the tokens.

    Raises:
        Damaged: not a segment of signal `number`.
    """
    fields = FieldReader(payload)
    if fields.uint(limits.LARGEST_EXTENT, "number of the signal") != number:
        raise Damaged(f"a segment of signal {number} expected, one of another found")
    start = fields.uint(limits.LARGEST_EXTENT, "start of the segment")
    length = fields.uint(limits.LARGEST_EXTENT, "length of the segment")
    windows = fields.uint(limits.MOST_TOKENS, "number of windows")
    marks = [fields.position]
    grids = [_read_grid(fields, windows) for _ in range(levels)]
    if sum(math.prod(shape) for shape, _ in grids) > limits.MOST_TOKENS:
        raise Damaged(f"a segment of more than {limits.MOST_TOKENS} tokens")
    marks.append(fields.position)
    affine = _read_affine(fields, windows, coarse=version != TOKENS_ONLY)
    marks.append(fields.position)
    mask = _read_mask(fields, values_shape(info, length))
    marks.append(fields.position)
    attachments = _read_attachments(fields)
    marks.append(fields.position)
    restoration = _read_parts(fields) if version != TOKENS_ONLY else b""
    marks.append(fields.position)
    fields.finish()
    return PackedSegment(
        start=start,
        length=length,
        shapes=tuple(shape for shape, _ in grids),
        streams=tuple(stream for _, stream in grids),
        sizes=_sizes(marks, restoration),
        affine=affine,
        mask=mask,
        attachments=attachments,
        restoration=restoration,
    )


def _sizes(marks: Sequence[int], restoration: bytes) -> dict[str, int]:
    """Bytes by category, from the positions between them."""
    *lengths, parts = np.diff(marks).tolist()
    residual = len(restoration) - side_information(restoration)
    return dict(zip(CATEGORIES, [*lengths, residual, parts - residual], strict=True))


def _coarser(grids: Sequence[NDArray[np.int64]], shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """Tokens of the level before, where its grid is the same."""
    return grids[-1].ravel() if grids and grids[-1].shape == shape else None


def _write_grid(fields: FieldWriter, grid: NDArray[np.int64], stream: bytes) -> None:
    if grid.ndim - 1 > limits.MOST_AXES:
        raise ValueError(f"a token grid of {grid.ndim} axes")
    fields.byte(grid.ndim - 1)
    for extent in grid.shape[1:]:
        fields.uint(extent)
    fields.blob(stream)


def _read_grid(fields: FieldReader, windows: int) -> tuple[tuple[int, ...], bytes]:
    """Shape and stream of one level."""
    axes = fields.byte()
    if axes > limits.MOST_AXES:
        raise Damaged(f"a token grid of {axes} axes")
    shape = (windows, *(fields.uint(limits.MOST_TOKENS, "extent of a token grid") for _ in range(axes)))
    if math.prod(shape) > limits.MOST_TOKENS:
        raise Damaged(f"a token grid of shape {list(shape)} is above the limit of {limits.MOST_TOKENS}")
    return shape, fields.blob(limits.LARGEST_SECTION, "tokens")


def _write_affine(fields: FieldWriter, affine: Affine | None, windows: int, *, coarse: bool) -> None:
    if affine is None:
        fields.byte(0)
        return
    table = np.stack([affine.shift, affine.scale]).astype("<f4")  # [2 n C]
    rows = table.shape[1]
    if rows not in (1, windows) or not np.isfinite(table).all() or not (table[1] > 0).all():
        raise ValueError(f"statistics of shape {table.shape[1:]} for {windows} windows, or out of range")
    planes = table.reshape(-1, 1).view(np.uint8).T  # [4 2nC]: bytes of equal weight beside each other
    exact = FieldWriter()
    write_packed(exact, planes.tobytes())
    placed = pack_coarse(affine) if coarse else None
    shorter = placed is not None and len(placed) < len(exact.data)
    fields.byte((1 if rows == 1 else 2) + (_COARSE if shorter else 0))
    fields.uint(table.shape[2])
    fields.raw(placed if placed is not None and shorter else bytes(exact.data))


def _read_affine(fields: FieldReader, windows: int, *, coarse: bool) -> Affine | None:
    mode = fields.byte()
    if mode == 0:
        return None
    if mode > (2 + _COARSE if coarse else 2):
        raise Damaged(f"unknown kind of statistics {mode}")
    rows = 1 if mode in (1, 1 + _COARSE) else windows
    channels = fields.uint(limits.MOST_STATISTICS, "channels of the statistics")
    size = 8 * rows * channels
    if size > limits.MOST_STATISTICS:
        raise Damaged(f"{size} bytes of statistics are above the limit of {limits.MOST_STATISTICS}")
    if mode > _COARSE:
        return read_coarse(fields, rows, channels)
    planes = np.frombuffer(read_packed(fields, size, "statistics"), np.uint8).reshape(4, -1)
    table = np.ascontiguousarray(planes.T).view("<f4").astype(np.float32).reshape(2, rows, channels)
    if not np.isfinite(table).all() or not (table[1] > 0).all():
        raise Damaged("statistics out of range")
    return Affine(table[0], table[1])


def _write_mask(fields: FieldWriter, mask: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> None:
    if mask is None or mask.all():
        fields.byte(0)
        return
    if mask.shape != shape or mask.size > limits.MOST_MASKED:
        raise ValueError(f"a mask of shape {mask.shape} for values of shape {shape}")
    fields.byte(1)
    write_packed(fields, np.packbits(np.moveaxis(mask, -1, 0)).tobytes())


def _read_mask(fields: FieldReader, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    mode = fields.byte()
    if mode == 0:
        return None
    count = math.prod(shape)
    if mode != 1 or count > limits.MOST_MASKED:
        raise Damaged(f"a mask of kind {mode} for {count} values")
    packed = np.frombuffer(read_packed(fields, -(count // -8), "mask"), np.uint8)
    planes = np.unpackbits(packed, count=count).astype(bool).reshape(shape[-1], *shape[:-1])
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def _write_attachments(fields: FieldWriter, attachments: Mapping[str, bytes]) -> None:
    if len(attachments) > limits.MOST_ATTACHMENTS:
        raise ValueError(f"{len(attachments)} attachments, at most {limits.MOST_ATTACHMENTS} can be stored")
    fields.uint(len(attachments))
    for name, data in attachments.items():
        encoded = name.encode()
        if len(encoded) > limits.LONGEST_NAME or len(data) > limits.LARGEST_ATTACHMENT:
            raise ValueError(f"attachment {name[:40]!r} of {len(data)} bytes is too large")
        fields.blob(encoded)
        fields.uint(len(data))
        write_packed(fields, data)


def _read_attachments(fields: FieldReader) -> dict[str, bytes]:
    attachments: dict[str, bytes] = {}
    for _ in range(fields.uint(limits.MOST_ATTACHMENTS, "number of attachments")):
        try:
            name = fields.blob(limits.LONGEST_NAME, "name of an attachment").decode()
        except UnicodeDecodeError as error:
            raise Damaged("the name of an attachment is not UTF-8") from error
        if name in attachments:
            raise Damaged(f"two attachments called {name!r}")
        size = fields.uint(limits.LARGEST_ATTACHMENT, f"size of attachment {name!r}")
        attachments[name] = read_packed(fields, size, f"attachment {name!r}")
    return attachments


_RESTORATION = 1
_OPTIONAL = 0x80
"""Parts of this kind and above may be passed over by readers that don't know them."""


def _write_parts(fields: FieldWriter, restoration: bytes) -> None:
    fields.uint(1 if restoration else 0)
    if restoration:
        fields.byte(_RESTORATION)
        fields.blob(restoration)


def _read_parts(fields: FieldReader) -> bytes:
    """The restoration, b"" where there is none."""
    restoration = b""
    for _ in range(fields.uint(limits.MOST_PARTS, "number of parts")):
        kind = fields.byte()
        data = fields.blob(limits.LARGEST_SECTION, "a part of a segment")
        if kind == _RESTORATION and data and not restoration:
            restoration = data
        elif kind < _OPTIONAL:
            raise Damaged(f"a part of kind {kind} of a segment; a newer anycodec may read it")
    return restoration
