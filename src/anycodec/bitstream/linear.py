"""Prediction of a value from its neighbours by fixed-point weights that the segment carries.

    prediction = (sum_i a_i v_i + sum_p b_p r_p + bias + 2^7) >> 8, in sixteenths of a grid step

v are neighbours that are known already, r values of a reference (what the codec restored), both less the
base of their channel. How far off it will be is told by the class of the residuals beside it,

    activity = sum_i g_i |e_i|,   class = number of thresholds 2^(i/2) that it reaches,

and the segment carries a scale for each class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.adaptation import PRECISION
from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.lattice import Integers, Lattice
from anycodec.bitstream.logistic import BUCKETS, LARGEST_SCALE, LARGEST_SHIFT, Buckets, Mixture

FRACTION = 12
"""Bits behind the point of a weight."""
LARGEST_WEIGHT = 2**15 - 1
LARGEST_VALUE = 2**46
"""A prediction is kept within, in sixteenths of a grid step."""
CLASSES = 84
MOST_TAPS = 64
_THRESHOLDS = np.array([math.isqrt(2**i) for i in range(CLASSES - 1)], np.int64)
_TAILS = ((4096, 0), (3968, 128), (3584, 512), (3072, 1024))
"""Weights of the two logistics, the second 8 times as wide; a segment names one pair."""
_TAIL_SCALE = 24
_FITTED = 2**16
"""Values that the weights are fitted to."""
_N_SCALES = LARGEST_SCALE + 1
_VALUES_A_WEIGHT = 32
"""Of a channel: so many, and a weight of two bytes pays."""
_MOST_TAPS = 15
"""Neighbours in use, of those that the lattice knows."""


@dataclass(slots=True)
class History:
    """What is known while values are coded, in the lattice's flat array.

    Attributes:
        values: values less the base of their channel.
        residuals: how far off their predictions were.
        planes: the reference, see `lattice.before`.
    """

    values: Integers
    residuals: Integers
    planes: tuple[Integers, ...] = ()


@dataclass(frozen=True, slots=True)
class LinearModel:
    """Weights and scales of a segment.

    Attributes:
        weights: [C inputs + 1] fixed point: neighbours, reference planes, bias.
        n_planes: how many of the inputs are reference planes.
        first: class of the first scale.
        scales: scale index of each class from there; classes beyond take the nearest one.
        tail: which pair of weights of the two logistics.
        shift: log2 of a bucket's unit in grid steps.
    """

    weights: Integers
    n_planes: int
    first: int
    scales: NDArray[np.int32]
    tail: int
    shift: int

    def predict(self, lattice: Lattice, history: History, which: Integers) -> Integers:
        """Predictions of the values with these indices, in sixteenths of a grid step."""
        at = lattice.places[which]
        weights = self.weights[lattice.channels[which]]
        n_taps = self.weights.shape[1] - 1 - self.n_planes
        total = weights[:, -1] + (1 << FRACTION - 5)
        for i in range(n_taps):
            total += weights[:, i] * history.values[at + lattice.taps[i]]
        for i, plane in enumerate(history.planes):
            total += weights[:, n_taps + i] * plane[at]
        predicted: Integers = np.clip(total >> FRACTION - 4, -LARGEST_VALUE, LARGEST_VALUE)
        return predicted

    def mixture(self, lattice: Lattice, history: History, which: Integers) -> Mixture:
        """What to expect of the values with these indices."""
        centre, rest = _rounded(self.predict(lattice, history, which))
        place = np.clip(activity(lattice, history, which) - self.first, 0, len(self.scales) - 1)
        return _around(centre, rest >> self.shift, self.scales[place], self.tail)

    def write(self, fields: FieldWriter) -> None:
        fields.byte(self.weights.shape[1] - 1 - self.n_planes)
        fields.byte(self.shift)
        fields.byte(self.tail)
        fields.byte(self.first)
        fields.byte(len(self.scales))
        fields.raw(bytes(self.scales.tolist()))
        fields.raw(self.weights.astype("<i2").tobytes())

    @classmethod
    def read(cls, fields: FieldReader, lattice: Lattice, channels: int, n_planes: int) -> LinearModel:
        """Raises Damaged: out of bounds."""
        taps, shift, tail, first, classes = (fields.byte() for _ in range(5))
        scales = np.frombuffer(fields.raw(classes), np.uint8).astype(np.int32)
        if taps > min(len(lattice.taps), MOST_TAPS) or not classes or tail >= len(_TAILS):
            raise Damaged("a linear predictor out of bounds")
        if shift > LARGEST_SHIFT or first >= CLASSES or scales.max() > LARGEST_SCALE:
            raise Damaged("scales of a linear predictor out of bounds")
        inputs = taps + n_planes + 1
        weights = np.frombuffer(fields.raw(2 * channels * inputs), "<i2").astype(np.int64)
        return cls(weights.reshape(channels, inputs), n_planes, first, scales, tail, shift)


def activity(lattice: Lattice, history: History, which: Integers) -> Integers:
    """Class of the residuals beside each value."""
    at = lattice.places[which]
    total = np.zeros(len(which), np.int64)
    for distance, weight in lattice.activity:
        total += weight * np.abs(history.residuals[at + distance])
    return np.searchsorted(_THRESHOLDS, total, side="right")


def fit(lattice: Lattice, history: History, channels: int) -> LinearModel:
    """The model of a segment; leaves its residuals in `history`."""
    affordable = len(lattice.places) // (channels * _VALUES_A_WEIGHT) if channels else 0
    taps = min(_MOST_TAPS, len(lattice.taps), 1 + affordable)
    weights = np.stack([_fit_channel(lattice, history, channel, taps) for channel in range(channels)])
    model = LinearModel(weights, len(history.planes), 0, np.zeros(1, np.int32), 0, 0)
    everything = np.arange(len(lattice.places))
    values = history.values[lattice.places]
    centre, rest = _rounded(model.predict(lattice, history, everything))
    history.residuals[lattice.places] = values - centre
    classes = activity(lattice, history, everything)
    return _with_scales(model, values - centre, rest, classes)


def _rounded(sixteenths: Integers) -> tuple[Integers, Integers]:
    """Whole steps, and what is left in -8..7 sixteenths."""
    whole = sixteenths + 8 >> 4
    return whole, sixteenths - 16 * whole


def _fit_channel(lattice: Lattice, history: History, channel: int, taps: int) -> Integers:
    """Weights that minimise absolute rather than squared residuals, so that jumps don't rule."""
    own = np.flatnonzero(lattice.channels == channel)
    if not len(own):
        return np.zeros(taps + len(history.planes) + 1, np.int64)
    own = own[:: max(1, len(own) // _FITTED)]
    at = lattice.places[own]
    inputs = [history.values[at + tap] for tap in lattice.taps[:taps].tolist()]
    inputs += [plane[at] for plane in history.planes]
    x = np.stack([*inputs, np.ones(len(at), np.int64)], axis=1).astype(np.float64)
    y = history.values[at].astype(np.float64)
    size = max(1.0, float(np.abs(y).mean()))
    x[:, -1] = size
    ridge = 1e-6 * size**2 * (len(y) + 1) * np.eye(x.shape[1])
    found = _solve(x.T @ x + ridge, x.T @ y)
    for _ in range(3):
        off = np.abs(y - x @ found)
        robust = 1 / (1 + off / (0.5 * off.mean() + 0.5))
        found = _solve((x * robust[:, None]).T @ x + ridge, (x * robust[:, None]).T @ y)
    found[-1] *= size
    whole = np.rint(found * 2**FRACTION)
    weights: Integers = np.clip(whole, -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.int64)
    return weights


def _solve(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """a^-1 b; the shortest of all solutions where a codec that is far off drowns the ridge."""
    return np.asarray(np.linalg.lstsq(a, b)[0], np.float64)


def _with_scales(model: LinearModel, residuals: Integers, rest: Integers, classes: Integers) -> LinearModel:
    """The scale of each class, and the tail of all, that make the residuals cheapest."""
    if not len(residuals):
        return model
    typical = float(np.median(np.abs(residuals)))
    shift = min(LARGEST_SHIFT, max(0, int(math.log2(max(typical, 1) / 2.5))))
    first, n = int(classes.min()), int(np.ptp(classes)) + 1
    buckets = Buckets.of(residuals, shift)
    found, _ = buckets.split(residuals)
    costs = np.zeros((n, len(_TAILS) * _N_SCALES))
    for mean in np.unique(rest >> shift).tolist():
        here = rest >> shift == mean
        kinds = (classes[here] - first) * BUCKETS + found[here]
        counts = np.bincount(kinds, minlength=n * BUCKETS).reshape(n, BUCKETS)
        costs += counts @ _bits(buckets, mean).T
    by_tail = costs.reshape(n, len(_TAILS), _N_SCALES)
    tail = int(by_tail.min(axis=2).sum(axis=0).argmin())
    scales = by_tail[:, tail].argmin(axis=1).astype(np.int32)
    return LinearModel(model.weights, model.n_planes, first, scales, tail, shift)


def _bits(buckets: Buckets, mean: int) -> NDArray[np.float64]:
    """What each bucket costs [tails * scales, BUCKETS] around this mean."""
    every, zero = np.arange(_N_SCALES, dtype=np.int32), np.zeros(_N_SCALES, np.int64)
    probabilities = [
        buckets.probabilities(_around(zero, zero + mean, every, tail)) for tail in range(len(_TAILS))
    ]
    return PRECISION - np.log2(np.concatenate(probabilities) + 1)


def _around(centre: Integers, mean: Integers, core: NDArray[np.int32], tail: int) -> Mixture:
    """Two logistics of these scales and `_TAIL_SCALE` more, `mean` off each centre."""
    wide = np.minimum(core + _TAIL_SCALE, LARGEST_SCALE)
    return Mixture(
        centre=centre,
        means=np.stack([mean, mean], axis=1).astype(np.int32),
        scales=np.stack([core, wide], axis=1),
        weights=np.broadcast_to(np.array(_TAILS[tail], np.int32), (len(core), 2)),
    )
