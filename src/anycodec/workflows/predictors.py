"""Networks that come with anycodec and predict raw nanopore current better than a line does.

Trained to minimise bits a sample on public reads, one for each generation of pores. A file carries the
weights of those that it uses, so that it can be read without them.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream import residual
from anycodec.bitstream.container import AczWriter
from anycodec.bitstream.fields import FieldReader
from anycodec.bitstream.network import Network, pack_model
from anycodec.types import FileInfo, SignalInfo

NAMES = ("nanopore-r9", "nanopore-r10")
_PROBE = 2**13
"""Samples that the choice of a predictor is made on."""


class Predictors:
    """The networks of one file while it is written.

    Attributes:
        models: those that were used so far, by their number in the file.
    """

    def __init__(self, file: FileInfo, writer: AczWriter) -> None:
        self._file, self._writer = file, writer
        self.models: dict[int, Network] = {}
        self._numbers: dict[str, int] = {}

    def of(self, info: SignalInfo, numbers: NDArray[np.int64]) -> tuple[int, Network] | None:
        """The network that predicts a segment best; None where a line does, or nearly."""
        if self._file.format != "pod5" or len(numbers) < 2:
            return None
        middle = max(0, (len(numbers) - _PROBE) // 2)
        probe = numbers[middle : middle + _PROBE]
        line = len(residual.encode(probe, "TC"))
        sizes = {name: len(residual.encode(probe, "TC", network=(0, builtin(name)))) for name in NAMES}
        name = min(sizes, key=lambda one: sizes[one])
        saved = (line - sizes[name]) / len(probe) * info.length
        if name not in self._numbers:
            if saved * self._file.n_signals <= len(pack_model(0, builtin(name))):
                return None
            number = self._writer.add_model(builtin(name))
            self._numbers[name], self.models[number] = number, builtin(name)
        number = self._numbers[name]
        return (number, self.models[number]) if saved > 0 else None


@cache
def builtin(name: str) -> Network:
    """A network that comes with anycodec, see `NAMES`."""
    data = resources.files("anycodec.bitstream").joinpath("models", f"{name}.bin").read_bytes()
    return Network.unpack(FieldReader(data))
