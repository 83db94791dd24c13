"""Layers of the format's networks <-> bytes: low bytes of int16 weights, their high bytes, int32 biases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.deflate import read_packed, write_packed
from anycodec.bitstream.fields import FieldReader, FieldWriter

WIDEST = 256
"""Outputs of a layer at most."""


def pack_layers(layers: Sequence[tuple[NDArray[np.generic], NDArray[np.generic]]]) -> bytes:
    """Weights [outputs inputs] and biases [outputs], whole numbers of any type."""
    fields = FieldWriter()
    for weights, bias in layers:
        fields.uint(len(bias))
        planes = weights.astype("<i2").reshape(-1, 1).view(np.uint8).T
        write_packed(fields, planes.tobytes() + bias.astype("<i4").tobytes())
    return bytes(fields.data)


def unpack_layers(
    fields: FieldReader, inputs: int, count: int
) -> list[tuple[NDArray[np.int16], NDArray[np.int32]]]:
    """Inverse of `pack_layers` for so many layers, the first of so many inputs.

    Raises:
        Damaged: too short, or too wide.
    """
    layers = []
    for _ in range(count):
        outputs = fields.uint(WIDEST, "width of a network")
        content = read_packed(fields, outputs * (2 * inputs + 4), "network")
        planes = np.frombuffer(content[: 2 * outputs * inputs], np.uint8).reshape(2, -1)
        weights = np.ascontiguousarray(planes.T).view("<i2").reshape(outputs, inputs)
        bias = np.frombuffer(content[2 * outputs * inputs :], "<i4")
        layers.append((weights.astype(np.int16), bias.astype(np.int32)))
        inputs = outputs
    return layers
