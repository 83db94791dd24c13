"""Videos -> signals [T H W C], 8-bit RGB -> x264 .mp4 or lossless ffv1 .mkv, by PyAV.

Frames are streamed. An index of presentation times, from the packets without decoding them, makes
any frame reachable exactly: seek to the key frame before it, decode up to it. Audio is not kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anycodec.atomic import atomic_path
from anycodec.config.data import VideoSource
from anycodec.errors import DataError, MissingExtra
from anycodec.io.base import Format, Reader
from anycodec.io.discover import label_of
from anycodec.io.values import cast, inflate
from anycodec.types import FileInfo, Meta, Signal, SignalInfo

if TYPE_CHECKING:
    import av

TIMES = "times"
"""Attachment of a segment of a video with an uneven frame rate: zlib of an int64 a frame, in time bases
from the first frame of the video."""


@dataclass(frozen=True, slots=True)
class _Writer:
    """How frames are encoded."""

    container: str
    suffix: str
    codec: str
    pixels: str
    options: dict[str, str]


_WRITERS = {
    # 4:4:4 keeps the colour resolution and takes odd sizes; CRF 4 adds an error of about 45 dB
    "x264": _Writer("mp4", ".mp4", "libx264", "yuv444p", {"crf": "4", "preset": "veryfast"}),
    "ffv1": _Writer("matroska", ".mkv", "ffv1", "bgr0", {"level": "3", "slicecrc": "1"}),
}


class VideoFormat(Format[VideoSource]):
    """Videos, one signal a file."""

    name = "video"
    suffixes = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v")

    def open(self, path: Path, source: VideoSource) -> VideoReader:
        return VideoReader(path, source)

    def write(self, path: Path, info: FileInfo, segments: Iterable[Signal]) -> None:
        library, writer = _library(), _WRITERS[info.meta["writer"]]
        with (
            atomic_path(path) as temporary,
            library.open(str(temporary), "w", format=writer.container) as out,
        ):
            stream = _new_stream(out, writer, info.meta)
            first: int | None = None
            for segment in segments:
                times, base = _times(segment, info.meta)
                first = times[0] if first is None and times else first
                for time, picture in zip(times, cast(segment.values, np.dtype(np.uint8)), strict=True):
                    frame = library.VideoFrame.from_ndarray(picture, format="rgb24")
                    frame.pts, frame.time_base = time - (first or 0), base
                    out.mux(stream.encode(frame))
            out.mux(stream.encode(None))

    def cut(self, signal: Signal, start: int, stop: int, info: FileInfo) -> Signal:
        found = super().cut(signal, start, stop, info)
        if TIMES not in signal.attachments:
            return found
        times = np.frombuffer(inflate(signal.attachments[TIMES], 8 * signal.length), np.int64)[start:stop]
        return replace(found, attachments={**signal.attachments, TIMES: zlib.compress(times.tobytes())})

    def join(self, file: FileInfo, more: FileInfo) -> FileInfo:
        raise DataError(
            "videos can't be joined: each has a clock and a size of its own", where=more.path,
            how="compress each into a file of its own, in a folder (-o), or join them before with ffmpeg",
        )  # fmt: skip

    def restored_name(self, original: str, info: FileInfo) -> str:
        return str(PurePath(original).with_suffix(_WRITERS[info.meta["writer"]].suffix))


class VideoReader(Reader):
    """An open video. Holds the decoder and the index, never more frames than asked for."""

    def __init__(self, path: Path, source: VideoSource) -> None:
        self._path = path
        with _damage(path):
            self._container = _library().open(str(path))
        try:
            self._stream = self._video_stream()
            with _damage(path):
                self._index = _Index.of(self._container, self._stream, path)
            self._signal = self._describe(source)
        except BaseException:
            self._container.close()
            raise
        fps = self._rate()
        aspect = self._stream.sample_aspect_ratio
        meta = {
            "writer": source.writer,
            "fps": [fps.numerator, fps.denominator],
            "time_base": [self._index.base.numerator, self._index.base.denominator],
            "even": self._index.even,
            "size": list(self._signal.shape[1:3]),
            "pixel_aspect": [aspect.numerator, aspect.denominator] if aspect else None,
            "audio_streams_dropped": len(self._container.streams.audio),
        }
        self.info = FileInfo(path=str(path), format="video", n_signals=1, meta=meta)
        self._decoder: Iterator[av.VideoFrame] = iter(())
        self._next = len(self._index.times)
        """Index of the frame that the decoder gives next."""

    def signals(self) -> Iterator[SignalInfo]:
        yield self._signal

    def segments(self, block: int) -> Iterator[Signal]:
        for start in range(0, self._signal.length, block):
            yield self.fetch(0, start, start + block)

    def fetch(self, index: int, start: int, stop: int) -> Signal:
        stop = min(stop, self._signal.length)
        values = np.empty((stop - start, *self._signal.shape[1:]), np.uint8)
        if stop > start:
            with _damage(self._path):
                self._move_to(start)
                for offset in range(stop - start):
                    values[offset] = self._picture(self._frame())
        attachments = {}
        if not self._index.even:
            times = self._index.times[start:stop] - self._index.times[0]
            attachments[TIMES] = zlib.compress(times.tobytes())
        return Signal(info=self._signal, values=values, start=start, attachments=attachments)

    def close(self) -> None:
        self._decoder = iter(())
        self._container.close()

    def _move_to(self, target: int) -> None:
        """Make `target` the next frame."""
        keys = self._index.keys_up_to(target)
        if not (len(keys) and keys[-1] <= self._next <= target) and self._next != target:
            self._seek(target, keys)
        while self._next < target:
            self._frame()

    def _seek(self, target: int, keys: NDArray[np.int64]) -> None:
        """Restart the decoder at a key frame, or the start of the file, that comes before `target`.

        Containers index key frames by decoding time, so the key frame that a seek finds can come
        after the one meant: then try the one before.
        """
        starts = [*(int(self._index.times[key]) for key in keys[::-1][:3]), None]
        for start in starts:
            if start is None:
                self._container.close()
                self._container = _library().open(str(self._path))
                self._stream = self._video_stream()
            else:
                self._container.seek(start, stream=self._stream)
            self._decoder = self._container.decode(self._stream)
            first = next(self._decoder, None)
            found = None if first is None else self._index.find(first.pts)
            if first is not None and found is not None and found <= target:
                self._decoder = _chain(first, self._decoder)
                self._next = found
                return
        raise ValueError("the frames don't start where the index says")

    def _frame(self) -> av.VideoFrame:
        """The next frame, checked against the index."""
        frame = next(self._decoder, None)
        if frame is None:
            raise ValueError(f"it ends after {self._next} of {self._signal.length} frames")
        if frame.is_corrupt or self._index.find(frame.pts) != self._next:
            raise ValueError(f"frame {self._next} is damaged or missing")
        self._next += 1
        return frame

    def _picture(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        if (frame.height, frame.width) != self._signal.shape[1:3]:
            raise ValueError(f"the size of the picture changes at frame {self._next - 1}")
        return frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)

    def _video_stream(self) -> Any:
        stream = self._container.streams.best("video")
        if stream is None:
            raise DataError("the file holds no video, only other streams", where=str(self._path))
        stream.thread_type = "AUTO"
        return stream

    def _rate(self) -> Fraction:
        """Frames a second, on average where they come unevenly."""
        stated = self._stream.average_rate or self._stream.guessed_rate
        if stated and self._index.even:
            return Fraction(stated)
        times = self._index.times
        return (
            (len(times) - 1) / (int(times[-1] - times[0]) * self._index.base)
            if len(times) > 1
            else Fraction(25)
        )

    def _describe(self, source: VideoSource) -> SignalInfo:
        height, width = self._stream.height, self._stream.width
        if not len(self._index.times) or not height or not width:
            raise DataError("the video holds no frames", where=str(self._path))
        return SignalInfo(
            id="",
            axes="THWC",
            shape=(len(self._index.times), height, width, 3),
            dtype="uint8",
            rate=float(self._rate()),
            unit="level",
            channels=("red", "green", "blue"),
            value_range=(0.0, 255.0),
            label=label_of(self._path, source.root),
        )


@dataclass(frozen=True, slots=True)
class _Index:
    """Where the frames of a stream are.

    Attributes:
        times: presentation times in time bases, rising, one a frame.
        keys: indices of key frames, rising.
        base: seconds a unit of time.
    """

    times: NDArray[np.int64]
    keys: NDArray[np.int64]
    base: Fraction

    @classmethod
    def of(cls, container: Any, stream: Any, path: Path) -> _Index:
        """Read all packets of the stream.

        Raises:
            DataError: packets are cut off or missing.
        """
        times: list[int | None] = []
        key_times: list[int] = []
        n_packets = 0
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            n_packets += 1
            if packet.is_corrupt:
                raise ValueError(f"packet {n_packets} is cut off")
            if not packet.is_discard:
                times.append(packet.pts)
                if packet.is_keyframe and packet.pts is not None:
                    key_times.append(packet.pts)
        if n_packets < stream.frames:
            raise ValueError(f"{n_packets} of {stream.frames} frames are there")
        if None in times or len(set(times)) < len(times):
            times, key_times = _decoded_times(path), []
        ordered = np.array(sorted(time for time in times if time is not None), np.int64)
        index = cls(ordered, np.searchsorted(ordered, sorted(key_times)), Fraction(stream.time_base))
        _check_duration(index, stream)
        return index

    @property
    def even(self) -> bool:
        """Whether frames come at one rate, up to the rounding of a container that counts in ms."""
        if len(self.times) < 3:
            return True
        steps = np.diff(self.times)
        return bool(steps.max() - steps.min() <= 1)

    def find(self, time: int | None) -> int | None:
        """Index of the frame at this time."""
        if time is None:
            return None
        place = int(np.searchsorted(self.times, time))
        return place if place < len(self.times) and self.times[place] == time else None

    def keys_up_to(self, frame: int) -> NDArray[np.int64]:
        return self.keys[: np.searchsorted(self.keys, frame, side="right")]


def _decoded_times(path: Path) -> list[int | None]:
    """Presentation times for containers that don't store them (AVI): decode everything once."""
    with _library().open(str(path)) as container:
        times: list[int | None] = [frame.pts for frame in container.decode(container.streams.best("video"))]
    if None in times or len(set(times)) < len(times):
        raise ValueError("its frames have no times")
    return times


def _check_duration(index: _Index, stream: Any) -> None:
    """Matroska states no number of frames, but ffmpeg and mkvmerge note the duration of each stream."""
    noted = stream.metadata.get("DURATION")
    if noted is None or len(index.times) < 2:
        return
    hours, minutes, seconds = noted.split(":")
    expected = Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(seconds)
    step = (int(index.times[-1]) - int(index.times[0])) / Fraction(len(index.times) - 1)
    found = (int(index.times[-1]) + 2 * step) * index.base
    if found < expected:
        raise ValueError(f"{float(found):.2f} of {float(expected):.2f} seconds are there")


def _new_stream(out: Any, writer: _Writer, meta: Meta) -> Any:
    stream = out.add_stream(writer.codec, rate=Fraction(*meta["fps"]), options=dict(writer.options))
    stream.height, stream.width = meta["size"]
    stream.pix_fmt = writer.pixels
    if not meta["even"]:
        stream.codec_context.time_base = Fraction(*meta["time_base"])
    if meta["pixel_aspect"]:
        stream.codec_context.sample_aspect_ratio = Fraction(*meta["pixel_aspect"])
    return stream


def _times(segment: Signal, meta: Meta) -> tuple[list[int], Fraction]:
    """Presentation times of a segment's frames, and their time base."""
    if TIMES not in segment.attachments:
        return list(range(segment.start, segment.start + segment.length)), 1 / Fraction(*meta["fps"])
    times = np.frombuffer(inflate(segment.attachments[TIMES], 8 * segment.length), np.int64)
    return times.tolist(), Fraction(*meta["time_base"])


def _chain(first: av.VideoFrame, rest: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    yield first
    yield from rest


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what PyAV raises on damaged files into a DataError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError("the file does not exist", where=str(path)) from error
    except (_library().FFmpegError, OSError, ValueError, LookupError, EOFError, OverflowError) as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"not a usable video, it is truncated, damaged or of another kind ({detail})",
            where=str(path),
            how="copy it again from its source, or leave it out with data.exclude",
        ) from error


def _library() -> Any:
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingExtra("PyAV (video)", "video") from error
    return av
