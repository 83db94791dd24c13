import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycodec.config.data import (
    ArraySource,
    ImageSource,
    Pod5Source,
    VideoSource,
    Window1d,
    Window2d,
    WindowClip,
)
from anycodec.data.channels import codec_values, native_values
from anycodec.data.window import BLOCK_SAMPLES, Windower
from anycodec.errors import DataError
from anycodec.types import SignalInfo


def series(samples: int, overlap: int = 0, channels: str = "joint") -> Windower:
    return Windower(ArraySource(window=Window1d(samples=samples, overlap=overlap), channels=channels))


def column(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_the_tail_is_padded_with_its_last_value():
    windows = series(4).cut(column([1, 2, 3, 4, 5, 6]))
    assert windows.tolist() == [[[1, 2, 3, 4]], [[5, 6, 6, 6]]]


def test_a_segment_shorter_than_a_window_gives_one_window():
    assert series(4).cut(column([7])).tolist() == [[[7, 7, 7, 7]]]


def test_overlapping_windows_share_samples():
    windows = series(4, overlap=2).cut(column([1, 2, 3, 4, 5, 6]))
    assert windows.tolist() == [[[1, 2, 3, 4]], [[3, 4, 5, 6]]]


def test_independent_channels_run_fastest():
    values = np.array([[1, 10], [2, 20], [3, 30], [4, 40]], np.float32)
    windows = series(2, channels="independent").cut(values)
    assert windows.tolist() == [[[1, 2]], [[10, 20]], [[3, 4]], [[30, 40]]]


def test_joint_channels_stay_in_one_window():
    values = np.array([[1, 10], [2, 20]], np.float32)
    assert series(2).cut(values).tolist() == [[[1, 2], [10, 20]]]


def test_picture_tiles_are_in_reading_order():
    windower = Windower(ImageSource(window=Window2d(size=(2, 2))))
    picture = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    assert windower.cut(picture)[:, 0].tolist() == [
        [[0, 1], [4, 5]],
        [[2, 3], [6, 7]],
        [[8, 9], [8, 9]],
        [[10, 11], [10, 11]],
    ]


def test_frames_are_folded_before_tiles():
    windower = Windower(VideoSource(window=WindowClip(size=(2, 2))))
    video = np.arange(2 * 2 * 4, dtype=np.float32).reshape(2, 2, 4, 1)
    windows = windower.cut(video)
    assert windows.shape == (4, 1, 2, 2)
    assert windows[2, 0].tolist() == [[8, 9], [12, 13]]


def test_seconds_are_turned_into_samples():
    assert Windower(Pod5Source(sample_rate=5000, window=Window1d(seconds=4.8))).size == (24000,)


def test_the_cross_fade_is_linear():
    windows = np.array([[[0, 0, 0, 0]], [[4, 4, 4, 4]]], np.float32)
    stitched = series(4, overlap=2).stitch(windows, (6, 1))
    assert stitched[:, 0].tolist() == [0, 0, 1, 3, 4, 4]


@given(
    extent=st.integers(1, 60),
    size=st.integers(1, 16),
    share=st.floats(0, 0.5),
    channels=st.integers(1, 3),
    mode=st.sampled_from(["independent", "joint"]),
    seed=st.integers(0, 99),
)
def test_stitch_undoes_cut_for_series(*, extent, size, share, channels, mode, seed):
    windower = series(size, int(size * share), mode)
    values = np.random.default_rng(seed).normal(1e3, 10, (extent, channels)).astype(np.float32)
    windows = windower.cut(values)
    assert len(windows) == windower.count(values.shape)
    assert np.array_equal(windower.stitch(windows, values.shape), values)


@given(
    frames=st.integers(1, 3),
    extents=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    size=st.tuples(st.integers(2, 12), st.integers(2, 12)),
    share=st.floats(0, 0.5),
)
def test_stitch_undoes_cut_for_video(frames, extents, size, share):
    windower = Windower(VideoSource(window=WindowClip(size=size, overlap=int(min(size) * share))))
    values = np.random.default_rng(0).normal(size=(frames, *extents, 3)).astype(np.float32)
    windows = windower.cut(values)
    assert len(windows) == windower.count(values.shape)
    assert np.array_equal(windower.stitch(windows, values.shape), values)


@pytest.mark.parametrize("overlap", [0, 1, 3, 8])
def test_weights_sum_to_one(overlap):
    """Windows that are all ones stitch to ones, whatever the number that share a place."""
    windower = Windower(ImageSource(window=Window2d(size=(16, 16), overlap=overlap)))
    shape = (50, 41, 1)
    ones = np.ones((windower.count(shape), 1, 16, 16), np.float32)
    assert np.array_equal(windower.stitch(ones, shape), np.ones(shape))


@pytest.mark.parametrize(("channels", "overlap"), [(1, 0), (7, 0), (7, 20), (3_000_000, 0)])
def test_a_block_is_a_whole_number_of_windows(channels, overlap):
    windower = series(512, overlap)
    info = SignalInfo(id="", axes="TC", shape=(10**9, channels), dtype="float32")
    block = windower.block(info)
    assert windower.count((block, 1)) * (512 - overlap) + overlap == block
    assert block == 512 or block * channels <= BLOCK_SAMPLES


def test_a_block_of_large_frames_is_bounded():
    windower = Windower(VideoSource())
    small = SignalInfo(id="", axes="THWC", shape=(10**6, 144, 176, 3), dtype="uint8")
    huge = SignalInfo(id="", axes="THWC", shape=(10**6, 4320, 7680, 3), dtype="uint8")
    assert windower.block(small) == 64
    assert windower.block(huge) == 1


def test_a_grey_picture_fits_a_colour_codec_and_comes_back():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    values = codec_values(grey, 3, "a.png")
    assert values.shape == (3, 4, 3)
    assert np.array_equal(native_values(values, 1), grey)


def test_a_colour_picture_is_refused_by_a_grey_codec():
    with pytest.raises(DataError, match=r"3 channels.*takes 1") as caught:
        codec_values(np.zeros((2, 2, 3)), 1, "a.png")
    assert "data.mode=rgb" in str(caught.value.how)
    assert caught.value.where == "a.png"
