"""Clips as windows: cutting, reading crops, and the baseline on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from npy_files import open_npy, save

from anycodec.config.data import VideoSource, WindowClip
from anycodec.data.catalog import scan
from anycodec.data.dataset import WindowDataset
from anycodec.data.normalize import make_normalizer
from anycodec.data.split import Piece
from anycodec.data.window import BLOCK_FRAMES, BLOCK_PIXELS, Windower
from anycodec.metrics.baseline import cut_patches, equal_rate_patches, fit_at_rate, join_patches
from anycodec.types import SignalInfo

PLAIN = {"type": "fixed", "low": -1, "high": 1}
"""A normalizer that changes nothing."""


def clips(frames: int, size: tuple[int, int], overlap: int = 0) -> Windower:
    return Windower(VideoSource(window=WindowClip(frames=frames, size=size, overlap=overlap)), "THW")


def numbered(frames: int, height: int, width: int, channels: int = 1) -> np.ndarray:
    """Pixel (t, y, x, c) is 1000 t + 100 y + 10 x + c."""
    t, y, x, c = np.ogrid[:frames, :height, :width, :channels]
    return np.float32(1000 * t + 100 * y + 10 * x + c)


def test_clips_run_over_time_then_rows_then_columns() -> None:
    windower = clips(2, (1, 2))
    windows = windower.cut(numbered(4, 2, 4))
    assert windows.shape == (8, 1, 2, 1, 2)
    assert windows[:, 0, 0, 0, 0].tolist() == [0, 20, 100, 120, 2000, 2020, 2100, 2120]
    assert windows[0, 0].tolist() == [[[0, 10]], [[1000, 1010]]]
    assert windower.side_by_side((4, 2, 4, 1)) == 4


def test_missing_frames_repeat_the_last() -> None:
    assert clips(4, (1, 1)).cut(numbered(2, 1, 1)).flatten().tolist() == [0, 1000, 1000, 1000]


@given(
    extents=st.tuples(st.integers(1, 12), st.integers(1, 20), st.integers(1, 20)),
    size=st.tuples(st.integers(1, 5), st.integers(2, 9), st.integers(2, 9)),
    share=st.floats(0, 0.5),
)
def test_stitch_undoes_cut(extents: tuple[int, int, int], size: tuple[int, int, int], share: float) -> None:
    windower = clips(size[0], size[1:], overlap=int(min(size[1:]) * share))
    values = np.random.default_rng(0).normal(size=(*extents, 3)).astype(np.float32)
    windows = windower.cut(values)
    assert len(windows) == windower.count(values.shape)
    assert len(windows) == windower.side_by_side(values.shape) * -(-extents[0] // size[0])
    assert np.array_equal(windower.stitch(windows, values.shape), values)


@given(frames=st.integers(1, 100), height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_blocks_are_whole_clips_of_bounded_size(frames: int, height: int, width: int) -> None:
    info = SignalInfo(id="", axes="THWC", shape=(10**6, height, width, 3), dtype="uint8")
    block = clips(frames, (8, 8)).block(info)
    assert block % frames == 0
    assert block == frames or (block <= BLOCK_FRAMES and block * height * width * 3 <= BLOCK_PIXELS)


def dataset(folder: Path, training: bool) -> WindowDataset:
    source = VideoSource(window=WindowClip(frames=4, size=(4, 6)), normalizer=PLAIN)
    pieces = [Piece(e, 0, e.length) for e in scan(sorted(folder.glob("*.npy")), source, open_npy).entries]
    normalizer = make_normalizer(source.normalizer)
    return WindowDataset(pieces, source, normalizer, open_npy, training=training, seed=0, axes="THW")


def test_training_items_are_single_random_clips(tmp_path: Path) -> None:
    save(tmp_path / "a.npy", numbered(30, 10, 10, 3))
    data = dataset(tmp_path, training=True)
    items = [data.item(0, index) for index in range(len(data))]
    assert len(data) == 30 // 4 * (10 // 4) * (10 // 6)
    assert {item.shape for item in items} == {(1, 3, 4, 4, 6)}
    expected = numbered(4, 4, 6, 3).transpose(3, 0, 1, 2)
    for item in items:
        assert np.array_equal(item[0] - item[0, 0, 0, 0, 0], expected)
    assert len({float(item[0, 0, 0, 0, 0]) for item in items}) > len(items) // 2


def test_a_short_video_repeats_its_last_frame(tmp_path: Path) -> None:
    save(tmp_path / "a.npy", numbered(2, 4, 6, 3))
    item = dataset(tmp_path, training=False).item(0, 0)
    assert item[0, 0, :, 0, 0].tolist() == [0, 1000, 1000, 1000]


def test_patches_of_clips_come_back() -> None:
    windows = np.random.default_rng(0).normal(size=(3, 2, 6, 8, 9)).astype(np.float32)
    for shape in ((2, 2, 4, 3), (1, 4, 3, 4), (2, 6, 8, 9)):
        patches = cut_patches(windows, shape)
        grid = [-(-extent // step) for extent, step in zip(windows.shape[1:], shape, strict=True)]
        assert patches.shape == (3 * np.prod(grid), np.prod(shape))
        assert np.array_equal(join_patches(patches.reshape(3, *grid, -1), shape, windows.shape[1:]), windows)


def test_candidates_of_clips_have_the_rate() -> None:
    """9 bits for 4 x 8 x 8 pixels of 3 channels."""
    shape, rate = (3, 8, 64, 64), 9 / (4 * 8 * 8 * 3)
    for patch, size in equal_rate_patches(shape, rate):
        tokens = np.prod([-(-extent // step) for extent, step in zip(shape, patch, strict=True)])
        assert np.log2(size) * tokens / np.prod(shape) == pytest.approx(rate, rel=0.01)


def test_the_baseline_finds_clips_that_repeat() -> None:
    """Clips made of four still blocks: their mean squared error vanishes at 2 bits a block."""
    rng = np.random.default_rng(0)
    blocks = rng.normal(size=(4, 4, 4, 4)).astype(np.float32)
    windows = blocks[rng.integers(4, size=400)][:, None]
    baseline = fit_at_rate(windows, 2 / 64, seed=0, max_codes=64)
    assert baseline.patch_shape == (1, 4, 4, 4)
    assert np.square(baseline.decode(baseline.encode(windows)) - windows).mean() < 1e-10
    assert baseline.describe() == "k-means VQ of raw patches, 4 frames of 4 x 4 pixels, 4 codes"
