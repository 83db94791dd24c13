"""Codecs without learning, on stretches of a file: their bytes, and what they restore."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct, idct

from anycodec.bitstream import residual
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.metrics.kmeans import kmeans, nearest
from anycodec.types import Signal

Values = NDArray[Any]
_STEPS = (0.0625, 0.125, 0.25, 0.5, 1.0)
"""Of uniform quantisation, in deviations of the values."""
_QUALITIES = (5, 15, 40, 70, 90)
_RATE_FACTORS = (18, 24, 30, 36, 42)
"""Of x264; more is coarser."""
BLOCK = 32
"""Of the cosine transform."""
PATCH = 4
"""Values of a channel that k-means codes as one."""
_CODES = (4, 16, 64, 256, 1024)
"""Of k-means."""


@dataclass(frozen=True, slots=True)
class Coded:
    """Stretches after a codec.

    Attributes:
        name: of the codec.
        setting: how it was set.
        size: bytes of all stretches, without any header of a file of ours.
        restored: values of each.
    """

    name: str
    setting: str
    size: int
    restored: list[Values]


def classics(sample: Sequence[Signal]) -> Iterator[Coded]:
    """What the classics for this kind of data make of stretches of a file."""
    if sample[0].info.axes == "HWC" and sample[0].info.dtype == "uint8":
        for name in ("JPEG", "WEBP"):
            for quality in _QUALITIES:
                yield _pictures(sample, name, quality)
    if sample[0].info.axes == "THWC" and sample[0].info.dtype == "uint8":
        for factor in _RATE_FACTORS:
            yield _x264(sample, factor)
    if sample[0].info.axes == "TC":
        for codes in _CODES:
            yield _vectors(sample, codes)
    deviation = float(np.mean([np.std(piece.values.astype(np.float64)) for piece in sample])) or 1.0
    for step in _STEPS:
        yield _steps(sample, step * deviation)
        if sample[0].info.axes == "TC":
            yield _cosines(sample, step * deviation)


def _pictures(sample: Sequence[Signal], name: str, quality: int) -> Coded:
    """Each picture as a file of its own."""
    size, restored = 0, []
    for piece in sample:
        grey = piece.values.shape[-1] == 1
        buffer = io.BytesIO()
        Image.fromarray(piece.values[..., 0] if grey else piece.values).save(buffer, name, quality=quality)
        size += buffer.tell()
        found = np.asarray(Image.open(buffer).convert("L" if grey else "RGB"))
        restored.append(found.reshape(piece.values.shape))
    return Coded(name, f"quality {quality}", size, restored)


def _x264(sample: Sequence[Signal], factor: int) -> Coded:
    """Each stretch as a stream of its own, 4:2:0, preset "slow"; packets alone count."""
    import av

    size, restored = 0, []
    for piece in sample:
        kind = "gray" if piece.values.shape[-1] == 1 else "rgb24"
        frames, height, width, _ = piece.values.shape
        even = np.pad(piece.values, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        coder = av.CodecContext.create("libx264", "w")
        coder.width, coder.height, coder.pix_fmt = even.shape[2], even.shape[1], "yuv420p"
        coder.time_base, coder.options = Fraction(1, 25), {"crf": str(factor), "preset": "slow"}
        pictures = [av.VideoFrame.from_ndarray(np.squeeze(frame), kind) for frame in even]
        for number, picture in enumerate(pictures):
            picture.pts = number
        packets = [packet for picture in [*pictures, None] for packet in coder.encode(picture)]
        size += sum(packet.size for packet in packets)
        reader = av.CodecContext.create("h264", "r")
        found = [
            frame.to_ndarray(format=kind) for packet in [*packets, None] for frame in reader.decode(packet)
        ]
        whole = np.stack(found).reshape(frames, *even.shape[1:])
        restored.append(whole[:, :height, :width])
    return Coded("x264", f"crf {factor}", size, restored)


def _vectors(sample: Sequence[Signal], codes: int) -> Coded:
    """VQ of 4 values of a channel by k-means, our range coder with adaptive counts.

    The codes are those of the stretches themselves and are not counted, which favours it.
    """
    means = [piece.values.mean(axis=0, dtype=np.float64) for piece in sample]
    patches = [patches_of(piece.values - mean) for piece, mean in zip(sample, means, strict=True)]
    book = kmeans(np.concatenate(patches), codes, np.random.default_rng(0))
    coder = AdaptiveCoder([np.ones(codes, np.int64)])
    size, restored = 0, []
    for piece, mean, found in zip(sample, means, patches, strict=True):
        length, channels = piece.values.shape
        tokens, _ = nearest(found, book)
        size += len(coder.encode(tokens, 0)) + 4 * channels
        restored.append(book[tokens].reshape(channels, -1).T[:length] + mean)
    return Coded(f"k-means VQ of {PATCH}", f"{codes} codes", size, restored)


def patches_of(values: Values) -> NDArray[np.float32]:
    """[T C] -> [n PATCH], channel by channel."""
    padded = np.pad(values, ((0, -len(values) % PATCH), (0, 0)), mode="edge")
    return np.ascontiguousarray(padded.T.reshape(-1, PATCH), np.float32)


def _steps(sample: Sequence[Signal], step: float) -> Coded:
    """Uniform quantisation, differences along time or a row, zstd."""
    zstd = pa.Codec("zstd", compression_level=19)
    size, restored = 0, []
    for piece in sample:
        axis = {"TC": 0, "HWC": 1, "THWC": 2}[piece.info.axes]
        places = np.rint(piece.values.astype(np.float64) / step).astype(np.int64)
        deltas = np.diff(places, axis=axis, prepend=0).astype(np.int32)
        planes = np.ascontiguousarray(deltas.reshape(-1, 1).view(np.uint8).T)
        size += len(zstd.compress(planes.tobytes()))
        restored.append(places * step)
    return Coded("steps + zstd", f"step {step:.4g}", size, restored)


def _cosines(sample: Sequence[Signal], step: float) -> Coded:
    """DCT-II of 32 samples, uniform quantisation, our range coder with its linear prediction."""
    size, restored = 0, []
    for piece in sample:
        numbers, found = coefficients(piece.values.astype(np.float64), step)
        size += len(residual.encode(numbers.reshape(len(numbers), -1), "TC"))
        restored.append(found)
    return Coded(f"DCT-{BLOCK} + range coder", f"step {step:.4g}", size, restored)


def coefficients(values: NDArray[np.float64], step: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """DCT-II of blocks of values [T C]: numbers [blocks C BLOCK] of steps, and what they restore [T C]."""
    length, channels = values.shape
    padded = np.pad(values, ((0, -length % BLOCK), (0, 0)), mode="edge")
    blocks = padded.reshape(-1, BLOCK, channels).transpose(0, 2, 1)
    numbers: NDArray[np.int64] = np.rint(dct(blocks, axis=2, norm="ortho") / step).astype(np.int64)
    restored = idct(numbers * step, axis=2, norm="ortho").transpose(0, 2, 1).reshape(-1, channels)
    return numbers, restored[:length]
