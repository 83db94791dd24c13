"""Statistics of windows on a coarse grid: scales in steps of 1/16 octave, shifts in sixteenths of a scale.

A codec that sees windows normalised by these loses nothing: encoder and decoder use the same ones.

    scale   s = 2^floor(a/16) round(2^(23 + a mod 16 / 16)) / 2^23
    shift   P_n = P_(n-1) + b_n s_n / 16, P_0 = 0, in float64; then rounded to float32

FORMAT.md is the specification.
"""

from __future__ import annotations

import constriction
import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.adaptation import INCREMENT, categorical
from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.limits import LARGEST_SECTION
from anycodec.bitstream.rangecoder import finish, from_bytes, to_bytes
from anycodec.types import Affine

STEPS = 16
"""Of an octave, and of a scale."""
_LOWEST, _HIGHEST = -126 * STEPS, 127 * STEPS - 1
_LARGEST = 2**28
_MANTISSAS = np.rint(2.0 ** (23 + np.arange(STEPS) / STEPS)).astype(np.int64)
_OWN = 16
"""Values below have buckets of their own; each octave above has one."""
_BUCKETS = _OWN + 27
_START = 8
_FIRST_BLOCK, _LONGEST_BLOCK = 16, 1024

Integers = NDArray[np.int64]


def coarse(affine: Affine) -> Affine:
    """The statistics on the grid that come nearest; the same where they are beyond it."""
    found = _places(affine)
    return affine if found is None else _affine(*found)


def pack_coarse(affine: Affine) -> bytes | None:
    """Statistics that are on the grid; None where they are not."""
    found = _places(affine)
    if found is None:
        return None
    placed = _affine(*found)
    if not (np.array_equal(placed.shift, affine.shift) and np.array_equal(placed.scale, affine.scale)):
        return None
    fields = FieldWriter()
    scales, shifts = found
    if len(scales) == 1:
        for a, b in zip(scales[0].tolist(), shifts[0].tolist(), strict=True):
            fields.sint(a)
            fields.sint(b)
        return bytes(fields.data)
    encoder = constriction.stream.queue.RangeEncoder()
    bits = ""
    for values in (np.diff(scales, axis=0, prepend=0), shifts):
        bits += _encode(encoder, _unsigned(values.ravel()))
    fields.blob(to_bytes(encoder))
    fields.blob(int(bits + "0" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8), "big") if bits else b"")
    return bytes(fields.data)


def read_coarse(fields: FieldReader, rows: int, channels: int) -> Affine:
    """Inverse of `pack_coarse`.

    Raises:
        Damaged: not such statistics.
    """
    if rows == 1:
        pairs = [(fields.sint(_LARGEST, "scale"), fields.sint(_LARGEST, "shift")) for _ in range(channels)]
        table = np.array(pairs, np.int64).reshape(channels, 2)
        scales, shifts = table[None, :, 0], table[None, :, 1]
    else:
        decoder = from_bytes(fields.blob(LARGEST_SECTION, "statistics"))
        bits = np.unpackbits(np.frombuffer(fields.blob(LARGEST_SECTION, "plain bits"), np.uint8))
        n = rows * channels
        buckets = [_decode(decoder, n) for _ in range(2)]
        if n:
            finish(decoder)
        values = _values(np.concatenate(buckets), bits)
        scales = np.cumsum(values[:n].reshape(rows, channels), axis=0)
        shifts = values[n:].reshape(rows, channels)
    if scales.size and (scales.min() < _LOWEST or scales.max() > _HIGHEST):
        raise Damaged("scales out of bounds")
    affine = _affine(scales, shifts)
    if not np.isfinite(affine.shift).all():
        raise Damaged("statistics out of range")
    return affine


def _places(affine: Affine) -> tuple[Integers, Integers] | None:
    """a and b of each row and channel."""
    logs = np.rint(STEPS * np.log2(affine.scale.astype(np.float64)))
    if not ((logs >= _LOWEST) & (logs <= _HIGHEST)).all():
        return None
    scales = logs.astype(np.int64)
    steps = _scale(scales) / STEPS
    shifts = np.empty(scales.shape, np.int64)
    position = np.zeros(scales.shape[1])
    for row, (shift, step) in enumerate(zip(affine.shift.astype(np.float64), steps, strict=True)):
        place = np.rint((shift - position) / step)
        if (np.abs(place) > _LARGEST).any():
            return None
        shifts[row] = place
        position = position + place * step
    return scales, shifts


def _scale(places: Integers) -> NDArray[np.float64]:
    mantissas = _MANTISSAS[places % STEPS].astype(np.float64)
    scale: NDArray[np.float64] = np.ldexp(mantissas, places // STEPS - 23)
    return scale


def _affine(scales: Integers, shifts: Integers) -> Affine:
    scale = _scale(scales)
    with np.errstate(over="ignore"):
        shift = np.cumsum(shifts * (scale / STEPS), axis=0).astype(np.float32)
    return Affine(shift, scale.astype(np.float32))


def _unsigned(values: Integers) -> Integers:
    """0, -1, 1, -2, 2 .. -> 0, 1, 2, 3, 4 .."""
    return np.where(values >= 0, 2 * values, -2 * values - 1)


def _encode(encoder: constriction.stream.queue.RangeEncoder, values: Integers) -> str:
    """Code buckets; returns the plain bits."""
    octaves = np.array([value.bit_length() - 1 for value in values.tolist()], np.int64)
    buckets = np.where(values < _OWN, values, _OWN - 4 + octaves)
    weights = np.full(_BUCKETS, _START, np.int64)
    for start, stop in _blocks(len(values)):
        encoder.encode(buckets[start:stop].astype(np.int32), categorical(weights))
        weights += INCREMENT * np.bincount(buckets[start:stop], minlength=_BUCKETS)
    large = values >= _OWN
    pairs = zip(values[large].tolist(), octaves[large].tolist(), strict=True)
    return "".join(f"{value - (1 << octave):0{octave}b}" for value, octave in pairs)


def _decode(decoder: constriction.stream.queue.RangeDecoder, n: int) -> Integers:
    """Buckets of `n` values."""
    weights = np.full(_BUCKETS, _START, np.int64)
    buckets = np.empty(n, np.int64)
    for start, stop in _blocks(n):
        try:
            buckets[start:stop] = decoder.decode(categorical(weights), stop - start)
        except (AssertionError, ValueError) as error:
            raise Damaged("statistics that no encoder writes") from error
        weights += INCREMENT * np.bincount(buckets[start:stop], minlength=_BUCKETS)
    return buckets


def _values(buckets: Integers, bits: NDArray[np.uint8]) -> Integers:
    """Values of buckets and the plain bits of the large ones, of all of which there must be enough."""
    large = np.flatnonzero(buckets >= _OWN)
    octaves = buckets[large] - _OWN + 4
    ends = np.cumsum(octaves)
    used = int(ends[-1]) if len(ends) else 0
    if len(bits) != -(-used // 8) * 8 or bits[used:].any():
        raise Damaged("plain bits of statistics of another number")
    unsigned = buckets.copy()
    text = bits[:used].tobytes()
    for place, octave, end in zip(large.tolist(), octaves.tolist(), ends.tolist(), strict=True):
        digits = int.from_bytes(
            np.packbits(np.frombuffer(text[end - octave : end], np.uint8)).tobytes(), "big"
        )
        unsigned[place] = (1 << octave) + (digits >> (-octave % 8))
    return np.where(unsigned % 2 == 0, unsigned >> 1, -(unsigned + 1 >> 1))


def _blocks(n: int) -> list[tuple[int, int]]:
    """Borders of the blocks after which the model learns: each as long as all before it, within bounds."""
    found, start = [], 0
    while start < n:
        stop = min(n, start + min(_LONGEST_BLOCK, max(_FIRST_BLOCK, start)))
        found.append((start, stop))
        start = stop
    return found
