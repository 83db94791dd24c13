"""Prediction of samples by a small network in whole numbers: two hidden layers, a mixture of logistics.

    u_i = clip((v_(t-21+i) - v_(t-1)) 32 / S, -256, 255), i = 1..19,   u_20 = 32 log2 S
    h = clip((A u + a) >> 6, 0, 255),   g = clip((B h + b) >> 6, 0, 255),   o = C g + c

S, the level of the segment, says how much neighbours differ. o holds, for each logistic in units of
2^-11, the log2 of its weight, its mean from v_(t-1) in units of S, and the log2 of its scale in units of
.35 S. All sums are below 2^24, so that float32 matrix products are exact in any order on any machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.lattice import HISTORY, Integers, Lattice
from anycodec.bitstream.layers import WIDEST, pack_layers, unpack_layers
from anycodec.bitstream.limits import MOST_MODELS
from anycodec.bitstream.linear import History
from anycodec.bitstream.logistic import FARTHEST, LARGEST_SCALE, WEIGHT_BITS, Mixture

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Whole-numbered weights [outputs inputs] and bias [outputs]."""

_NETWORK = 1
"""Kind of a model."""
_STEP, _OUTPUT = 6, 11
"""Bits behind the point of a weight, and of an output."""
_FARTHEST_INPUT = 256
_EXACT = 2**24
_LOGISTICS = 3
_LARGEST_DIFFERENCE = 2**24
_GAIN = np.array([round(2 ** (21 - level / 16)) for level in range(256)], np.int64)
_LEVEL = np.array([round(2 ** (8 + level / 16)) for level in range(256)], np.int64)
_POWER = np.array([round(2 ** (12 - i / 32)) for i in range(512)], np.int64)
_NARROWEST = 20
"""8 log2(.35 * 16): index of the scale .35 grid steps."""


@dataclass(frozen=True, slots=True)
class Network:
    """The layers A, B, C of the network.

    Raises:
        ValueError: of other sizes, or with sums that float32 does not hold.
    """

    layers: tuple[Layer, Layer, Layer]

    def __post_init__(self) -> None:
        inputs, most = HISTORY, 2 * _FARTHEST_INPUT
        for weights, bias in self.layers:
            if weights.shape != (len(bias), inputs) or not 1 <= len(bias) <= WIDEST:
                raise ValueError("a network whose layers do not fit")
            if (np.abs(weights).sum(axis=1) * most + np.abs(bias)).max() >= _EXACT:
                raise ValueError("a network whose sums are too large")
            inputs, most = len(bias), _FARTHEST_INPUT
        if inputs != 3 * _LOGISTICS:
            raise ValueError("a network of other outputs")

    @classmethod
    def quantised(cls, arrays: Mapping[str, NDArray[np.float32]]) -> Network:
        """From the trained weights a, b, c `.weight` and `.bias` of the formula in real numbers."""
        layers = []
        scales = np.repeat([0, 0, 2 ** (_OUTPUT - 4)], _LOGISTICS)
        for name, half in (("a", 2 ** (_STEP - 1)), ("b", 2 ** (_STEP - 1)), ("c", scales)):
            weights = np.rint(arrays[f"{name}.weight"] * 2**_STEP)
            bias = np.rint(arrays[f"{name}.bias"] * 2**_OUTPUT) + half  # shifts round down
            layers.append((weights.astype(np.float32), bias.astype(np.float32)))
        return cls((layers[0], layers[1], layers[2]))

    def outputs(self, inputs: NDArray[np.float32]) -> Integers:
        """o [n 9] for u [n 20]."""
        hidden = inputs
        for weights, bias in self.layers[:2]:
            hidden = np.clip(np.floor((hidden @ weights.T + bias) / 2**_STEP), 0, 255)
        weights, bias = self.layers[2]
        return (hidden @ weights.T + bias).astype(np.int64)

    def pack(self) -> bytes:
        """Payload of a MODEL section, after its number."""
        return pack_layers(self.layers)

    @classmethod
    def unpack(cls, fields: FieldReader) -> Network:
        """Inverse of `pack`.

        Raises:
            Damaged: not a network.
        """
        a, b, c = (
            (weights.astype(np.float32), bias.astype(np.float32))
            for weights, bias in unpack_layers(fields, HISTORY, 3)
        )
        try:
            return cls((a, b, c))
        except ValueError as error:
            raise Damaged(str(error)) from error


def pack_model(number: int, network: Network) -> bytes:
    """Payload of the MODEL section of this number."""
    fields = FieldWriter()
    fields.uint(number)
    fields.byte(_NETWORK)
    return bytes(fields.data) + network.pack()


def unpack_model(number: int, payload: bytes) -> Network:
    """Inverse of `pack_model`.

    Raises:
        Damaged: not the model of this number.
    """
    fields = FieldReader(payload)
    if fields.uint(MOST_MODELS - 1, "number of the model") != number:
        raise Damaged(f"model {number} expected, another found")
    if fields.byte() != _NETWORK:
        raise Damaged("a model of an unknown kind; a newer anycodec may read it")
    network = Network.unpack(fields)
    fields.finish()
    return network


@dataclass(frozen=True, slots=True)
class NetworkModel:
    """A network at work in a segment.

    Attributes:
        network: its weights.
        level: 16 log2 of S, S in grid steps.
        shift: log2 of a bucket's unit in grid steps.
    """

    network: Network
    level: int
    shift: int

    @classmethod
    def fitted(cls, network: Network, differences: Integers) -> NetworkModel:
        """For a segment with these differences of neighbours."""
        mean = float(np.abs(differences).mean()) if len(differences) else 1.0
        level = int(np.clip(round(16 * np.log2(max(mean, 1.0))), 0, 255))
        return cls(network, level, max(0, (level - 24) // 16 - 1))

    def mixture(self, lattice: Lattice, history: History, which: Integers) -> Mixture:
        """What to expect of the values with these indices."""
        at = lattice.places[which]
        known = history.values[at[:, None] + lattice.taps]  # [n HISTORY], the last sample first
        last = known[:, :1]
        off = np.clip(known[:, :0:-1] - last, -_LARGEST_DIFFERENCE, _LARGEST_DIFFERENCE)
        inputs = np.empty((len(at), HISTORY), np.float32)
        inputs[:, :-1] = np.clip(off * _GAIN[self.level] >> 16, -_FARTHEST_INPUT, _FARTHEST_INPUT - 1)
        inputs[:, -1] = 2 * self.level
        outputs = self.network.outputs(inputs).reshape(-1, 3, _LOGISTICS)
        weights = _shares(outputs[:, 0])
        means = outputs[:, 1] * _LEVEL[self.level] >> _OUTPUT + 4  # sixteenths of a grid step
        first = weights.argmax(axis=1)[:, None]
        moved = np.take_along_axis(means, first, axis=1) + 8 >> 4
        scales = (outputs[:, 2] >> _OUTPUT - 3) + _NARROWEST + self.level // 2 - 8 * self.shift
        return Mixture(
            centre=last[:, 0] + moved[:, 0],
            means=np.clip(means - 16 * moved >> self.shift, -FARTHEST, FARTHEST).astype(np.int32),
            scales=np.clip(scales, 0, LARGEST_SCALE).astype(np.int32),
            weights=weights.astype(np.int32),
        )


def _shares(logarithms: Integers) -> Integers:
    """Shares of 2^12 from log2 weights [n J]; the largest takes what rounding leaves."""
    below = logarithms.max(axis=1, keepdims=True) - logarithms >> _OUTPUT - 5
    parts = _POWER[np.minimum(below, len(_POWER) - 1)]
    shares: Integers = (parts << WEIGHT_BITS) // parts.sum(axis=1, keepdims=True)
    rest = (1 << WEIGHT_BITS) - shares.sum(axis=1, keepdims=True)
    largest = shares.argmax(axis=1)[:, None]
    np.put_along_axis(shares, largest, np.take_along_axis(shares, largest, axis=1) + rest, axis=1)
    return shares
