from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from anycodec.config.data import VideoSource
from anycodec.errors import DataError, MissingExtra
from anycodec.io.formats import get_format, open_file, write

NUMBER = 40


def encode(
    path: Path,
    times: list[int],
    base: Fraction,
    *,
    size: tuple[int, int] = (32, 48),
    codec: str = "libx264",
    pixels: str = "yuv444p",
    **options: str,
) -> None:
    """A video whose frame i is a flat grey of 6 i."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1 / base, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        stream.codec_context.time_base = base
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), 6 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def numbers(values: np.ndarray) -> list[int]:
    """Which frames these are."""
    return np.rint(values.mean(axis=(1, 2, 3)) / 6).astype(int).tolist()


def restore(path: Path, writer: str = "x264") -> Path:
    with open_file(path, VideoSource(writer=writer)) as reader:
        target = path.with_name(get_format("video").restored_name(f"restored_{path.name}", reader.info))
        write(target, reader.info, reader.segments(7))
    return target


@pytest.mark.parametrize("first", [0, 33], ids=["from zero", "late start"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_any_frame_is_reached_exactly_with_b_frames(suffix: str, first: int, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    encode(path, list(range(first, first + NUMBER)), Fraction(1, 25), g="10", bf="3")
    with open_file(path, VideoSource()) as reader:
        assert next(reader.signals()).shape == (NUMBER, 32, 48, 3)
        for start, stop in ((0, 3), (25, 31), (9, 12), (39, 45), (20, 21), (21, 24), (0, NUMBER)):
            found = reader.fetch(0, start, stop)
            assert numbers(found.values) == list(range(start, min(stop, NUMBER)))


@pytest.mark.parametrize("writer", ["x264", "ffv1"])
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(12)])
def test_restored_videos_keep_count_rate_and_size(writer: str, rate: Fraction, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    encode(path, list(range(NUMBER)), 1 / rate, size=(33, 47))
    restored = restore(path, writer)
    assert restored.suffix == {"x264": ".mp4", "ffv1": ".mkv"}[writer]
    with av.open(str(restored)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert stream.average_rate == rate
    assert (len(frames), frames[0].shape) == (NUMBER, (33, 47, 3))
    assert numbers(np.stack(frames)) == list(range(NUMBER))


def test_ffv1_is_lossless(tmp_path: Path) -> None:
    path, target = tmp_path / "a.mp4", tmp_path / "b.mkv"
    encode(path, [0, 1, 2], Fraction(1, 25), size=(33, 47))
    noise = np.random.default_rng(0).integers(0, 256, (3, 33, 47, 3), dtype=np.uint8)
    source = VideoSource(writer="ffv1")
    with open_file(path, source) as reader:
        signal = reader.fetch(0, 0, 3)
        write(target, reader.info, [type(signal)(info=signal.info, values=noise)])
    with open_file(target, source) as reader:
        np.testing.assert_array_equal(reader.fetch(0, 0, 3).values, noise)


def test_uneven_frame_times_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    times = np.cumsum(np.random.default_rng(0).integers(1, 9, NUMBER)).tolist()
    encode(path, times, Fraction(1, 100))
    for writer in ("x264", "ffv1"):
        with av.open(str(restore(path, writer))) as container:
            found = [frame.time for frame in container.decode(video=0)]
        np.testing.assert_allclose(np.diff(found), np.diff(times) / 100, atol=1e-6)


def test_audio_is_counted_as_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=8000)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(video.encode(picture))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    with open_file(path, VideoSource()) as reader:
        assert reader.info.meta["audio_streams_dropped"] == 1


def test_a_file_with_sound_only_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    with pytest.raises(DataError, match="no video"):
        open_file(path, VideoSource())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_video_without_frames_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    encode(path, [], Fraction(1, 25))
    with pytest.raises(DataError):
        open_file(path, VideoSource())


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_cut_off_matroska_is_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    encode(path, list(range(NUMBER)), Fraction(1, 25), g="5")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"a\.mkv"), open_file(path, VideoSource()) as reader:
        list(reader.segments(10))


def test_a_missing_library_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"anycodec\[video\]"):
        open_file(tmp_path / "a.mp4", VideoSource())


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "shape", "rate"),
    [("bikes.mp4", (250, 272, 640, 3), "25"), ("carphone_pristine.mp4", (120, 144, 176, 3), "30000/1001")],
)
def test_real_videos(name: str, shape: tuple[int, ...], rate: str, real_data: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    path.symlink_to(real_data / "vision" / "video" / name)
    with av.open(str(path)) as container:
        expected = {
            i: f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(video=0)) if i % 40 == 7
        }
    with open_file(path, VideoSource()) as reader:
        assert next(reader.signals()).shape == shape
        for index in sorted(expected, reverse=True):
            np.testing.assert_array_equal(reader.fetch(0, index, index + 1).values[0], expected[index])
        clip = reader.fetch(0, 0, 20)
        write(tmp_path / "b.mp4", reader.info, [clip])
    with open_file(tmp_path / "b.mp4", VideoSource()) as reader:
        error = reader.fetch(0, 0, 20).values.astype(float) - clip.values
        assert reader.info.meta["fps"] == [Fraction(rate).numerator, Fraction(rate).denominator]
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 42
