"""Coders of time series without learning, columns by themselves, that are set to an RMSE or a largest error.

Each has one setting that makes it coarser. `to_rmse` finds the coarsest that keeps to an RMSE, so that all
stand at the same one. Sizes are those of payloads: no header, no names of columns, no container.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import product

import constriction
import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.metrics.kmeans import kmeans, nearest
from anycodec.workflows.classics import BLOCK, PATCH, coefficients, patches_of
from common import Seconds, there_and_back

Values = NDArray[np.float64]
Whole = NDArray[np.int64]
BISECTIONS = 14


@dataclass(frozen=True, slots=True)
class Coded:
    """A table after a coder.

    Attributes:
        size: bytes.
        restored: [T C].
        setting: how it was set, for people.
        step: the same as a number, where it is one.
        seconds: of a processor, there and back; None where that was not measured.
    """

    size: float
    restored: Values
    setting: str
    step: float = math.nan
    seconds: Seconds | None = None


Coder = Callable[[Values, float], Coded]
"""Values [T C] and a step, a tolerance or the like -> what came of them; coarser for larger ones."""


def rmse(values: Values, restored: Values) -> float:
    return float(np.sqrt(np.square(restored - values).mean()))


def to_rmse(coder: Coder, values: Values, wanted: float, least: float = 1e-3, most: float = 4.0) -> Coded:
    """The smallest file with an RMSE of at most `wanted`: bisection of the setting's logarithm.

    Some coders' errors jump up and down with their setting, so that coarser ones close by are tried as well.
    """
    best = coder(values, least)
    for _ in range(BISECTIONS):
        middle = math.sqrt(least * most)
        found = coder(values, middle)
        if rmse(values, found.restored) <= wanted:
            least, best = middle, found
        else:
            most = middle
    beyond = [coder(values, least * 1.015**i) for i in range(1, 20)]
    kept = [coded for coded in beyond if rmse(values, coded.restored) <= wanted]
    return min([best, *kept], key=lambda coded: coded.size)


Part = tuple[int, Values, Seconds]
"""Bytes, what came back, and how long it took."""


def _by_column(values: Values, code: Callable[[Values], Part], setting: str) -> Coded:
    sizes, columns, seconds = zip(*(code(np.ascontiguousarray(column)) for column in values.T), strict=True)
    restored = np.stack(columns, axis=1).astype(np.float64)
    return Coded(sum(sizes), restored, setting, seconds=Seconds.sum(seconds))


# --- SZ3 and zfp --------------------------------------------------------------------------------


def _sz3(values: Values, most: float) -> Part:
    pysz = import_module("pysz")
    config = pysz.szConfig()
    config.errorBoundMode, config.absErrorBound = pysz.szErrorBoundMode.ABS, most
    single = values.astype(np.float32)
    packed, restored, seconds = there_and_back(
        lambda: pysz.sz.compress(single, config)[0],
        lambda packed: pysz.sz.decompress(packed, np.float32, values.shape)[0],
    )
    return len(packed), restored, seconds


def sz3(values: Values, most: float) -> Coded:
    """With an absolute bound, each column."""
    return _by_column(values, lambda column: _sz3(column, most), f"bound {most:.4g}, columns")


def sz3_of_table(values: Values, most: float) -> Coded:
    """With an absolute bound, the table in two dimensions."""
    size, restored, seconds = _sz3(np.ascontiguousarray(values), most)
    return Coded(size, restored.astype(np.float64), f"bound {most:.4g}, table", seconds=seconds)


def smallest(*found: Coded) -> Coded:
    return min(found, key=lambda coded: coded.size)


def _zfp(values: Values, **setting: float) -> Part:
    zfpy = import_module("zfpy")
    single = values.astype(np.float32)
    packed, restored, seconds = there_and_back(
        lambda: zfpy.compress_numpy(single, **setting), zfpy.decompress_numpy
    )
    return len(packed), restored, seconds


def zfp(values: Values, tolerance: float) -> Coded:
    """With a tolerance, whose octave alone counts."""
    setting = f"tolerance 2^{math.floor(math.log2(tolerance))}"
    return _by_column(values, lambda column: _zfp(column, tolerance=tolerance), setting)


def zfp_of_rate(values: Values, coarseness: float) -> Coded:
    """With so many bits a value, a coarseness of 1 being 8."""
    bits = 8 / coarseness
    return _by_column(values, lambda column: _zfp(column, rate=bits), f"rate {bits:.3g}")


def zfp_to_rmse(values: Values, wanted: float) -> Coded:
    """In the mode that needs fewer bits."""
    tolerated = to_rmse(zfp, values, wanted, 2.0**-12, 2.0**4)
    return smallest(tolerated, to_rmse(zfp_of_rate, values, wanted, 1 / 2, 16.0))


# --- uniform steps ------------------------------------------------------------------------------


def steps(values: Values, step: float) -> Coded:
    """Uniform quantisation, differences along time, zstd-19."""
    zstandard = import_module("zstandard")
    packer, unpacker = zstandard.ZstdCompressor(level=19), zstandard.ZstdDecompressor()
    narrow = np.int8 if np.abs(_differences(values, step)).max() < 128 else np.int16

    def pack() -> bytes:
        packed: bytes = packer.compress(_differences(values, step).T.astype(narrow).tobytes())
        return packed

    def unpack(packed: bytes) -> Values:
        deltas = np.frombuffer(unpacker.decompress(packed), narrow).reshape(values.shape[::-1])
        restored: Values = np.cumsum(deltas, axis=1, dtype=np.int64).T * np.float64(step)
        return restored

    packed, restored, seconds = there_and_back(pack, unpack)
    return Coded(len(packed), restored, f"step {step:.4g}", seconds=seconds)


def _differences(values: Values, step: float) -> Whole:
    differences: Whole = np.diff(np.rint(values / step), axis=0, prepend=0).astype(np.int64)
    return differences


# --- cosine transform ---------------------------------------------------------------------------


def cosines(values: Values, step: float) -> Coded:
    """DCT-II of 32 values and uniform quantisation; the size is that of `ideal`, without models."""
    numbers, restored = coefficients(values, step)
    return Coded(ideal(numbers) / 8, restored, f"step {step:.4g}", step)


def ideal(numbers: Whole) -> float:
    """Bits by the order-0 entropy of each frequency of each column, the yardstick of facts/timeseries.md."""
    bits = 0.0
    for channel, frequency in product(range(numbers.shape[1]), range(numbers.shape[2])):
        _, counts = np.unique(numbers[:, channel, frequency], return_counts=True)
        bits -= float((counts * np.log2(counts / len(numbers))).sum())
    return bits


def cosines_coded(values: Values, step: float) -> Coded:
    """The same with a range coder and adaptive order-0 models, one for each frequency of each column.

    They start from those of the frequency; the smallest of a few trusts in these is taken. Decoded again.
    """
    numbers, restored = coefficients(values, step)
    found = [_coded(numbers, trust) for trust in (2.0, 8.0, 32.0)]
    size, seconds = min(found)
    return Coded(size, restored, f"step {step:.4g}", step, seconds)


def _coded(numbers: Whole, trust: float) -> tuple[int, Seconds]:
    """Bytes of coefficients, and how long the range coder takes."""
    reach = int(np.abs(numbers).max())
    words, again, seconds = there_and_back(
        lambda: _encode(numbers, trust), lambda words: _decode(words, numbers.shape, reach, trust)
    )
    if not np.array_equal(again, numbers):
        raise RuntimeError("the coefficients do not come back")
    return 4 * len(words) + 2, seconds


class _Models:
    """Counts of each frequency of each column, and of each frequency.

    Args:
        channels: columns.
        reach: largest number.
        trust: symbols that the model of all columns is worth beside those of the column.
    """

    def __init__(self, channels: int, reach: int, trust: float) -> None:
        self._reach, self._trust = reach, trust
        places = np.arange(-reach, reach + 1)
        self._all = np.tile(0.7 ** np.abs(places) + 0.01 / len(places), (BLOCK, 1))
        self._single: Values = np.zeros((channels, BLOCK, len(places)))

    def probabilities(self) -> NDArray[np.float32]:
        """[C * BLOCK, 2 reach + 1]."""
        common = self._all / self._all.sum(axis=-1, keepdims=True)
        mixed = self._single + self._trust * common
        shares = mixed / mixed.sum(axis=-1, keepdims=True)
        found: NDArray[np.float32] = shares.reshape(-1, mixed.shape[-1]).astype(np.float32)
        return found

    def learn(self, block: Whole) -> None:
        """Numbers [C BLOCK] that were coded."""
        for channel, row in enumerate(block + self._reach):
            self._single[channel, np.arange(BLOCK), row] += 1
            self._all[np.arange(BLOCK), row] += 1


def _encode(numbers: Whole, trust: float) -> NDArray[np.uint32]:
    reach = int(np.abs(numbers).max())
    models = _Models(numbers.shape[1], reach, trust)
    family = constriction.stream.model.Categorical(perfect=False)
    encoder = constriction.stream.queue.RangeEncoder()
    for block in numbers:
        encoder.encode((block + reach).ravel().astype(np.int32), family, models.probabilities())
        models.learn(block)
    words: NDArray[np.uint32] = encoder.get_compressed()
    return words


def _decode(words: NDArray[np.uint32], shape: tuple[int, ...], reach: int, trust: float) -> Whole:
    models = _Models(shape[1], reach, trust)
    family = constriction.stream.model.Categorical(perfect=False)
    decoder = constriction.stream.queue.RangeDecoder(words)
    found = np.zeros(shape, np.int64)
    for block in found:
        block[:] = decoder.decode(family, models.probabilities()).reshape(block.shape) - reach
        models.learn(block)
    return found


# --- k-means ------------------------------------------------------------------------------------


def kmeans_to_rmse(train: Values, values: Values, wanted: float) -> Coded:
    """VQ of raw patches by k-means on the training rows, the fewest codes that keep to an RMSE.

    The range coder starts from the counts of the training rows; the codebook is not counted.
    """
    low, high, best = 1.0, 13.0, None
    while high - low > 0.1:
        middle = (low + high) / 2
        found = _kmeans(train, values, round(2**middle))
        if rmse(values, found.restored) <= wanted:
            high, best = middle, found
        else:
            low = middle
    return best or _kmeans(train, values, round(2**high))


def _kmeans(train: Values, values: Values, size: int) -> Coded:
    patches = patches_of(train)
    codes = kmeans(patches, size, np.random.default_rng(0))
    counts = np.bincount(nearest(patches, codes)[0], minlength=size)
    tokens, _ = nearest(patches_of(values), codes)
    packed = AdaptiveCoder([counts]).encode(tokens, 0)
    restored = codes[tokens].reshape(values.shape[1], -1).T[: len(values)]
    return Coded(len(packed), restored.astype(np.float64), f"{size} codes for {PATCH} values")
