"""Prediction of samples by a network that looks far back: 32 samples and running averages of all before.

It is part of the format, as the dictionary of a text compressor is, so that files need not carry it. Samples
are coded one by one, each with a mixture of four logistics around its prediction. `wide_kernels` does the
work, FORMAT.md (Wide network) says what it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.layers import WIDEST, pack_layers, unpack_layers
from anycodec.bitstream.limits import LARGEST_SECTION

if TYPE_CHECKING:  # numba takes half a second
    from anycodec.bitstream.wide_kernels import Buffers, Layers, Tables

Integers = NDArray[np.int64]
Layer = tuple[NDArray[np.int16], NDArray[np.int32]]
"""Weights [outputs inputs] in 2^-10 and bias [outputs] in 2^-18."""

NAMES = ("nanopore-wide-1",)
"""Networks by their number in the format; new ones are added at the end, none ever changes.

nanopore-wide-1: trained to minimise bits a sample, on grids of 1, 3 and 9 ADC steps, of public reads (R9.4.1,
R10.4.1, RNA002), by scripts/train_wide_network.py.
"""
NANOPORE = 0

_INPUTS, _OUTPUTS, _LAGS = 39, 12, 32
_MOST_INPUT = 2**12
_LARGEST_SHIFT = 40
_FEWEST_UNITS = 96
"""16 log2 of the level above which buckets widen."""


@dataclass(frozen=True, slots=True)
class WideNetwork:
    """Three layers, with rectifiers between them.

    Raises:
        ValueError: of other sizes, or with sums that 32 bits do not hold.
    """

    layers: tuple[Layer, Layer, Layer]

    def __post_init__(self) -> None:
        inputs = _INPUTS
        for weights, bias in self.layers:
            if weights.shape != (len(bias), inputs) or not 1 <= len(bias) <= WIDEST:
                raise ValueError("a network whose layers do not fit")
            sums = np.abs(weights.astype(np.int64)).sum(axis=1) * _MOST_INPUT + np.abs(bias.astype(np.int64))
            if sums.max() >= 2**31:
                raise ValueError("a network whose sums are too large")
            inputs = len(bias)
        if inputs != _OUTPUTS:
            raise ValueError("a network of other outputs")

    def pack(self) -> bytes:
        """The bytes of a model file."""
        return pack_layers(self.layers)

    @classmethod
    def unpack(cls, fields: FieldReader) -> WideNetwork:
        """Inverse of `pack`.

        Raises:
            Damaged: too short.
            ValueError: not a network.
        """
        a, b, c = unpack_layers(fields, _INPUTS, 3)
        return cls((a, b, c))


@cache
def builtin(number: int) -> WideNetwork:
    """A network of the format."""
    name = f"{NAMES[number]}.bin"
    return WideNetwork.unpack(
        FieldReader(resources.files("anycodec.bitstream").joinpath("models", name).read_bytes())
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """What the network is told of a segment.

    Attributes:
        level: 16 log2 of S, how much neighbours differ on average, in grid steps; 0..255.
        spread: how far samples are from the base on average, in S / 16; 0..255.
        shift: log2 of a bucket in grid steps.
    """

    level: int
    spread: int
    shift: int

    @classmethod
    def of(cls, values: Integers) -> Settings:
        """For a segment of these values less their base."""
        differences = np.abs(np.diff(values))
        step = max(1.0, float(differences.mean())) if len(differences) else 1.0
        level = min(255, round(16 * math.log2(step)))
        spread = 16 * float(np.abs(values).mean()) / 2 ** (level / 16) if len(values) else 0.0
        return cls(level, min(255, round(spread)), max(0, (level - _FEWEST_UNITS) // 16))

    def numbers(self) -> Integers:
        """For the kernels: with S as a factor into 2^-8 and back into 16ths of a step, in 2^-16 and 2^-4."""
        gain, size = round(2 ** (24 - self.level / 16)), round(2 ** (8 + self.level / 16))
        return np.array([self.level, self.spread, self.shift, gain, size], np.int64)


def encode(fields: FieldWriter, values: Integers, number: int) -> None:
    """Append the predictor and the coded values [n], less their base."""
    from anycodec.bitstream import wide_kernels

    settings = Settings.of(values)
    layers = _arranged(number)
    padded = np.concatenate([np.zeros(_LAGS, np.int64), values])
    words = np.empty(3 * len(values) + 1, np.uint32)
    used = wide_kernels.encode(
        padded, np.zeros_like(padded), layers, _tables(), settings.numbers(), _buffers(layers), words
    )
    fields.uint(number)
    fields.byte(settings.level)
    fields.byte(settings.spread)
    fields.byte(settings.shift)
    fields.blob(words[:used].astype("<u4").tobytes())


def decode(fields: FieldReader, n: int) -> Integers:
    """The n values, less their base.

    Raises:
        Damaged: not what `encode` writes.
    """
    from anycodec.bitstream import wide_kernels

    number = fields.uint(2**16, "number of a network")
    if number >= len(NAMES):
        raise Damaged(f"network {number} of the format is unknown; a newer anycodec may read it")
    settings = Settings(fields.byte(), fields.byte(), fields.byte())
    body = fields.blob(LARGEST_SECTION, "residual")
    if settings.shift > _LARGEST_SHIFT or len(body) % 4:
        raise Damaged("a wide network out of bounds")
    layers = _arranged(number)
    padded = np.zeros(_LAGS + n, np.int64)
    words = np.frombuffer(body, "<u4").astype(np.uint32)
    if not wide_kernels.decode(
        padded, np.zeros_like(padded), layers, _tables(), settings.numbers(), _buffers(layers), words
    ):
        raise Damaged("a residual that no encoder writes")
    return padded[_LAGS:]


@cache
def _arranged(number: int) -> Layers:
    """Weights and biases of a network of the format, as the kernels want them."""
    from anycodec.bitstream.dot_products import arranged, room_for

    flat: list[Any] = []
    for weights, bias in builtin(number).layers:
        flat += [arranged(weights), np.pad(bias, (0, room_for(len(bias), outputs=True) - len(bias)))]
    a, b, c, d, e, f = flat
    return a, b, c, d, e, f


@cache
def _tables() -> Tables:
    """2^(20 - i/32), 2^(12 - i/32), and that of `sigmoid`."""
    return (
        np.array([round(2 ** (20 - i / 32)) for i in range(512)], np.int64),
        np.array([round(2 ** (12 - i / 32)) for i in range(512)], np.int64),
        sigmoid(),
    )


@cache
def sigmoid() -> Integers:
    """2^20 / (1 + e^-x) at x = -12 .. 12 by 16ths."""
    return np.array([round(2**20 / (1 + math.exp(12 - i / 16))) for i in range(385)], np.int64)


def _buffers(layers: Layers) -> Buffers:
    """Room for averages, a mixture, inputs and sums of each layer, and the range coder."""
    from anycodec.bitstream.dot_products import room_for

    first, second, third = (len(bias) for bias in layers[1::2])
    return (
        np.zeros(5, np.int64), np.zeros((3, 4), np.int64),
        np.zeros(room_for(_INPUTS, outputs=False), np.int16), np.zeros(first, np.int32),
        np.zeros(first, np.int16), np.zeros(second, np.int32),
        np.zeros(second, np.int16), np.zeros(third, np.int32),
        np.zeros(4, np.uint64),
    )  # fmt: skip
