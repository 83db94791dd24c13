"""Whole numbers on the grid of an error bound, coded losslessly: RESIDUAL streams.

Each value is predicted, by `linear`, `network`, `wide` or `regression`, from values that the decoder knows;
what is left is range coded with the distribution that the predictor expects. FORMAT.md is the specification.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import constriction
import numpy as np

from anycodec.bitstream import linear, regression, wide
from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.lattice import Integers, Lattice, before, lane_length, make_lattice
from anycodec.bitstream.limits import LARGEST_GRID, LARGEST_SECTION, MOST_MODELS, MOST_RESTORED
from anycodec.bitstream.linear import History
from anycodec.bitstream.logistic import (
    LARGEST_SHIFT,
    BitReader,
    BitWriter,
    Buckets,
    chunks,
    model,
    reach_of,
)
from anycodec.bitstream.network import Network, NetworkModel
from anycodec.bitstream.rangecoder import finish, from_bytes, to_bytes
from anycodec.types import Axes

_LINEAR, _NETWORK, _WIDE, _REGRESSION = 0, 1, 2, 3
_FARTHEST_REACH = 48
Predictor = linear.LinearModel | NetworkModel


def encode(
    values: Integers,
    axes: Axes,
    reference: Integers | None = None,
    network: tuple[int, Network] | None = None,
) -> bytes:
    """Code the values of a segment.

    Args:
        values: whole numbers within +-2^40, in the segment's layout.
        axes: that layout.
        reference: what the codec restored, on the same grid and of the same shape.
        network: number in the file and weights of a network, for series without a reference.

    Raises:
        ValueError: too many values or too large ones.
    """
    _check(values)
    fields = FieldWriter()
    lane = lane_length(len(values)) if axes == "TC" else 1
    lattice = make_lattice(axes, values.shape, lane)
    bases = _bases(values)
    for base in bases.tolist():
        fields.sint(base)
    planes = _planes(lattice, bases, axes, reference)
    history = History(lattice.spread(values - bases), np.zeros(lattice.size, np.int64), planes)
    fields.byte(_LINEAR if network is None else _NETWORK)
    if axes == "TC":
        fields.uint(lane)
    own: Predictor
    if network is None:
        own = linear.fit(lattice, history, values.shape[-1])
        own.write(fields)
    else:
        number, weights = network
        own = NetworkModel.fitted(weights, np.diff(values, axis=0).reshape(-1))
        fields.uint(number)
        fields.byte(own.level)
        fields.byte(own.shift)
    _encode(fields, lattice, history, own)
    return bytes(fields.data)


def encode_wide(values: Integers, number: int) -> bytes:
    """Code a series [n 1] by a network of the format, see `wide.NAMES`.

    Raises:
        ValueError: too many values, too large ones or several channels.
    """
    _check(values)
    if values.ndim != 2 or values.shape[1] != 1:
        raise ValueError(f"a wide network predicts one channel, not values of shape {values.shape}")
    fields = FieldWriter()
    bases = _bases(values)
    fields.sint(int(bases[0]))
    fields.byte(_WIDE)
    wide.encode(fields, (values - bases)[:, 0], number)
    return bytes(fields.data)


def encode_regression(values: Integers) -> bytes:
    """Code a series [n C], its channels predicted from each other as well.

    Raises:
        ValueError: too many values or channels, or too large values.
    """
    _check(values)
    if values.ndim != 2 or values.shape[1] > regression.MOST_CHANNELS:
        raise ValueError(f"a regression predicts channels of a series, not values of shape {values.shape}")
    fields = FieldWriter()
    bases = _bases(values)
    for base in bases.tolist():
        fields.sint(base)
    fields.byte(_REGRESSION)
    regression.encode(fields, values - bases)
    return bytes(fields.data)


def decode(
    data: bytes,
    axes: Axes,
    shape: Sequence[int],
    reference: Integers | None = None,
    models: Mapping[int, Network] | None = None,
) -> Integers:
    """Inverse of `encode`; `models` are the networks of the file by number.

    Raises:
        Damaged: not such a stream.
    """
    if math.prod(shape) > MOST_RESTORED:
        raise Damaged(f"{math.prod(shape)} values are above the limit of {MOST_RESTORED}")
    fields = FieldReader(data)
    bases = np.array([fields.sint(LARGEST_GRID, "base") for _ in range(shape[-1])], np.int64)
    kind = fields.byte()
    if kind == _WIDE:
        return _decode_wide(fields, axes, shape, reference) + bases
    if kind == _REGRESSION:
        return _decode_regression(fields, axes, shape, reference) + bases
    lane = fields.uint(MOST_RESTORED, "length of a lane") if axes == "TC" else 1
    if kind not in (_LINEAR, _NETWORK) or (axes == "TC" and lane * 64 < max(1, min(shape[0], 4096))):
        raise Damaged("a residual of an unknown kind")
    if kind == _NETWORK and (axes != "TC" or reference is not None):
        raise Damaged("a network where none can be")
    lattice = make_lattice(axes, shape, min(lane, max(1, shape[0])))
    planes = _planes(lattice, bases, axes, reference)
    history = History(np.zeros(lattice.size, np.int64), np.zeros(lattice.size, np.int64), planes)
    own: Predictor
    if kind == _LINEAR:
        own = linear.LinearModel.read(fields, lattice, shape[-1], len(planes))
    else:
        number = fields.uint(MOST_MODELS, "number of a model")
        if models is None or number not in models:
            raise Damaged(f"model {number} is missing")
        own = NetworkModel(models[number], level=fields.byte(), shift=fields.byte())
    _decode(fields, lattice, history, own)
    fields.finish()
    return history.values[lattice.places].reshape(tuple(shape)) + bases


def _check(values: Integers) -> None:
    if values.size > MOST_RESTORED or (values.size and np.abs(values).max() > LARGEST_GRID):
        raise ValueError(f"{values.size} values on the grid of the bound, or one of them, are too many")


def _decode_wide(
    fields: FieldReader, axes: Axes, shape: Sequence[int], reference: Integers | None
) -> Integers:
    if axes != "TC" or shape[-1] != 1 or reference is not None:
        raise Damaged("a wide network where none can be")
    values = wide.decode(fields, shape[0])
    fields.finish()
    return values[:, None]


def _decode_regression(
    fields: FieldReader, axes: Axes, shape: Sequence[int], reference: Integers | None
) -> Integers:
    if axes != "TC" or reference is not None:
        raise Damaged("a regression where none can be")
    values = regression.decode(fields, (shape[0], shape[1]))
    fields.finish()
    return values


def _bases(values: Integers) -> Integers:
    """A typical value of each channel."""
    flat = values.reshape(-1, values.shape[-1])
    if not len(flat):
        return np.zeros(values.shape[-1], np.int64)
    middle = len(flat) // 2
    bases: Integers = np.partition(flat, middle, axis=0)[middle]
    return bases


def _planes(
    lattice: Lattice, bases: Integers, axes: Axes, reference: Integers | None
) -> tuple[Integers, ...]:
    """The reference as predictors want it."""
    if reference is None:
        return ()
    within = np.clip(reference - bases, -LARGEST_GRID, LARGEST_GRID)
    return tuple(lattice.spread(plane) for plane in before(within, axes))


def _reach(lattice: Lattice, history: History, own: Predictor) -> int:
    """Bits of a place in an open bucket that the farthest value needs."""
    values = history.values[lattice.places]
    off = [values[part] - own.mixture(lattice, history, part).centre for part in _parts(lattice.order)]
    return reach_of(np.concatenate([*off, np.zeros(1, np.int64)]), own.shift)


def _parts(order: Integers) -> list[Integers]:
    return [order[start:stop] for start, stop in chunks(len(order))]


def _encode(fields: FieldWriter, lattice: Lattice, history: History, own: Predictor) -> None:
    """Range coded buckets and plain bits of all values."""
    reach = _reach(lattice, history, own)
    buckets, family = Buckets(own.shift, reach), model()
    encoder, bits = constriction.stream.queue.RangeEncoder(), BitWriter()
    values = history.values[lattice.places]
    for part in _parts(lattice.order):
        mixture = own.mixture(lattice, history, part)
        bucket, place = buckets.split(values[part] - mixture.centre)
        encoder.encode(bucket, family, buckets.probabilities(mixture))
        bits.write(place, buckets.bits[bucket])
    fields.uint(reach)
    fields.blob(to_bytes(encoder))
    fields.blob(bits.data())


def _decode(fields: FieldReader, lattice: Lattice, history: History, own: Predictor) -> None:
    """Fill `history` step by step."""
    if own.shift > LARGEST_SHIFT:
        raise Damaged("buckets out of bounds")
    buckets, family = Buckets(own.shift, fields.uint(_FARTHEST_REACH, "reach of a residual")), model()
    decoder = from_bytes(fields.blob(LARGEST_SECTION, "residual"))
    bits = BitReader(fields.blob(LARGEST_SECTION, "plain bits of a residual"))
    for which in lattice.stretches():
        mixture = own.mixture(lattice, history, which)
        try:
            bucket = decoder.decode(family, buckets.probabilities(mixture))
        except (AssertionError, ValueError) as error:
            raise Damaged("a residual that no encoder writes") from error
        off = buckets.join(bucket, bits.read(buckets.bits[bucket]))
        at = lattice.places[which]
        history.residuals[at] = off
        history.values[at] = np.clip(mixture.centre + off, -2 * LARGEST_GRID, 2 * LARGEST_GRID)
    finish(decoder)
    bits.finish()
