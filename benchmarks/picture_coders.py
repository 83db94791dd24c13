"""JPEG, WebP, AVIF, x264, SVT-AV1 and VP9 at a wanted size, for `rate_distortion_pictures.py`.

Still coders are Pillow's, one file a picture, all bytes counted. Coders of clips are PyAV's in 4:2:0; their
packets alone are counted, not the container. All on one thread.
"""

from __future__ import annotations

import io
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray
from PIL import Image

Frames = NDArray[np.uint8]
"""[N H W 3]; a picture is one frame."""
RATE = Fraction(25)
"""Frames a second that clips are said to have: encoders with a constant quality do not look at it."""


@dataclass(frozen=True, slots=True)
class Coded:
    """What a coder made of pictures.

    Attributes:
        size: bytes.
        restored: the pictures again.
        encode_s, decode_s: processor seconds.
    """

    size: int
    restored: Frames
    encode_s: float
    decode_s: float


@dataclass(frozen=True, slots=True)
class Coder:
    """A coder without learning.

    Attributes:
        name: as in the tables.
        settings: its quality, from the smallest files to the largest.
        shown: further settings, which make its curve.
        code: what it makes of pictures with a setting.
    """

    name: str
    settings: Sequence[int]
    shown: Sequence[int]
    code: Callable[[Frames, int], Coded]


def at_size(coder: Coder, frames: Frames, size: int) -> tuple[int, Coded]:
    """The first setting whose file is no smaller than `size`, so that the coder has at least as many bits.

    Its lowest setting where that is larger already, its highest where nothing is large enough.
    """
    made = cache(lambda place: coder.code(frames, coder.settings[place]))
    places = range(len(coder.settings))
    if made(0).size >= size:
        return coder.settings[0], made(0)
    place = bisect_left(places[1:-1], size, key=lambda place: made(place).size) + 1
    return coder.settings[place], made(place)


# --- pictures -----------------------------------------------------------------------------------


def still(form: str, options: Mapping[str, Any], shrink: int = 1) -> Callable[[Frames, int], Coded]:
    """One of Pillow's formats; `shrink` codes a picture of that fraction of its size, and enlarges it."""

    def code(frames: Frames, quality: int) -> Coded:
        begin = time.process_time()
        picture = Image.fromarray(frames[0])
        small = (picture.width // shrink, picture.height // shrink)
        file = io.BytesIO()
        scaled = picture if shrink == 1 else picture.resize(small, Image.Resampling.LANCZOS)
        scaled.save(file, form, quality=quality, **options)
        middle = time.process_time()
        found = Image.open(file).convert("RGB")
        if shrink != 1:
            found = found.resize(picture.size, Image.Resampling.BICUBIC)
        restored = np.asarray(found)[None]
        return Coded(file.tell(), restored, middle - begin, time.process_time() - middle)

    return code


_QUALITIES = range(96)
_AVIF = {"speed": 4, "max_threads": 1}
STILLS = (
    Coder("JPEG", range(1, 96), (5,), still("JPEG", {"optimize": True})),
    Coder("WebP", _QUALITIES, (10,), still("WEBP", {"method": 6})),
    Coder("AVIF", _QUALITIES, (10, 25), still("AVIF", _AVIF)),
    Coder("AVIF, half size", _QUALITIES, (20, 40), still("AVIF", _AVIF, shrink=2)),
)


# --- clips --------------------------------------------------------------------------------------


def clip(codec: str, options: Mapping[str, str], shrink: int = 1) -> Callable[[Frames, int], Coded]:
    """One of FFmpeg's encoders at a constant rate factor; `shrink` as in `still`."""

    def code(frames: Frames, factor: int) -> Coded:
        begin = time.process_time()
        height, width = frames.shape[1:3]
        small = _resized(frames, (width // shrink, height // shrink), Image.Resampling.LANCZOS)
        packets, header = _encode(small, codec, {**options, "crf": str(factor)})
        middle = time.process_time()
        restored = _resized(_decode(packets, header, codec), (width, height), Image.Resampling.BICUBIC)
        size = sum(len(packet) for packet, _ in packets)
        return Coded(size, restored, middle - begin, time.process_time() - middle)

    return code


def _resized(frames: Frames, size: tuple[int, int], method: Image.Resampling) -> Frames:
    """Pictures of another size (width, height)."""
    if frames.shape[2:0:-1] == size:
        return frames
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, method)) for frame in frames])


def _encode(
    frames: Frames, codec: str, options: Mapping[str, str]
) -> tuple[list[tuple[bytes, int | None]], bytes | None]:
    """Packets with their times, and the stream's header."""
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = frames.shape[1:3]
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", 1 / RATE, RATE
    encoder.thread_count, encoder.options = 1, dict(options)
    encoder.flags |= Flags.global_header  # what describes the stream is not in the packets
    packets: list[tuple[bytes, int | None]] = []
    for number, picture in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = number, 1 / RATE
        packets += [(bytes(packet), packet.pts) for packet in encoder.encode(frame)]
    packets += [(bytes(packet), packet.pts) for packet in encoder.encode(None)]
    return packets, encoder.extradata


_AV1 = {"preset": "6", "svtav1-params": "lp=1"}
_DECODERS = {"libx264": "h264", "libsvtav1": "libdav1d", "libvpx-vp9": "vp9"}


def _decode(packets: list[tuple[bytes, int | None]], header: bytes | None, codec: str) -> Frames:
    decoder: Any = av.CodecContext.create(_DECODERS[codec], "r")
    decoder.thread_count, decoder.extradata = 1, header
    found: list[Frames] = []
    for data, when in [*packets, (None, None)]:
        packet = None if data is None else av.Packet(data)
        if packet is not None:
            packet.pts = when
        found += [frame.to_ndarray(format="rgb24") for frame in decoder.decode(packet)]
    return np.stack(found)


CLIPS = (
    Coder("x264 veryslow", range(51, 14, -1), (44, 36), clip("libx264", {"preset": "veryslow"})),
    Coder("x264 medium", range(51, 14, -1), (44, 36), clip("libx264", {"preset": "medium"})),
    Coder("SVT-AV1", range(63, 14, -1), (54, 42), clip("libsvtav1", _AV1)),
    Coder("SVT-AV1, half size", range(63, 14, -1), (63, 54), clip("libsvtav1", _AV1, shrink=2)),
    Coder(
        "VP9",
        range(63, 14, -1),
        (54, 42),
        clip("libvpx-vp9", {"b": "0", "deadline": "good", "cpu-used": "3"}),
    ),
)
