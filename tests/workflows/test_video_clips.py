"""The causal video codec on files: any number of frames and size of picture, blocks without seams."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import anycodec
from anycodec.bitstream.container import AczReader
from anycodec.config.loader import load_spec
from anycodec.data import window
from anycodec.errors import ConfigError
from anycodec.metrics.baseline import fit_at_rate
from anycodec.metrics.evaluation import Evaluation
from anycodec.workflows import compress, decompress, evaluate, inspect
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.train import run as train

av = pytest.importorskip("av")

CONFIG = """\
name: clips
data:
  type: video
  workers: 0
  window: {size: [16, 16], frames: 8}
  split: {type: time, ratios: [0.6, 0.2, 0.2]}
  writer: ffv1
codec:
  type: causal3d
  base_channels: 8
  stem_stride: 2
  channels: [8, 12]
  time_strides: [2, 2]
  space_strides: [2, 2]
  res_blocks: 1
  mid_blocks: 1
  latent_channels: 8
  quantizer: {type: vq, codebook_size: 32, kmeans_init: true}
train: {steps: 3, batch_size: 2, val_every: 3, val_batches: 2, threads: 1, best: {metric: val/psnr}}
"""


def write_video(path: Path, frames: int, height: int, width: int) -> Path:
    """Waves that move, losslessly."""
    t, y, x = np.ogrid[:frames, :height, :width]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264rgb", rate=Fraction(30000, 1001), options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb24"
        waves = [np.sin(0.4 * x + 0.3 * t + c) * np.cos(0.5 * y - 0.2 * t) for c in range(3)]
        for picture in np.uint8(127.5 + 120 * np.stack(waves, axis=-1)):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def frames_of(path: Path) -> tuple[np.ndarray, object]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(stream)]), stream.average_rate


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    (folder / "data").mkdir()
    for number in range(2):
        write_video(folder / "data" / f"{number}.mp4", 40, 24, 36)
    (folder / "config.yaml").write_text(CONFIG)
    train(folder / "config.yaml", [f"data.root={folder / 'data'}"], folder / "run", False, True)
    return folder / "run"


def tokens_of(path: Path, run: Path) -> list[np.ndarray]:
    with AczReader(path) as reader:
        return [segment.tokens.grids[0] for _, segment in reader.segments(Pipeline.open(run, "cpu").coder)]


@pytest.mark.parametrize(
    ("frames", "height", "width"),
    [(37, 24, 36), (8, 16, 16), (3, 16, 16), (1, 24, 36), (11, 6, 4)],
    ids=["a part left over", "one window", "fewer frames than a token", "a picture", "smaller than a token"],
)
def test_a_video_comes_back_with_its_frames_rate_and_size(
    run: Path, tmp_path: Path, frames: int, height: int, width: int
) -> None:
    original = write_video(tmp_path / "a.mp4", frames, height, width)
    assert compress.run(run, [original], tmp_path / "packed", "cpu") == 0
    assert decompress.run([tmp_path / "packed" / "a.mp4.acz"], tmp_path / "out", run, "cpu") == 0
    before, after = frames_of(original), frames_of(tmp_path / "out" / "a.mkv")
    assert after[0].shape == before[0].shape == (frames, height, width, 3)
    assert after[1] == before[1]
    (tokens,) = tokens_of(tmp_path / "packed" / "a.mp4.acz", run)
    windows = -(-frames // 8) * -(-height // 16) * -(-width // 16)
    assert tokens.shape == (windows, 2, 2, 2)


def test_blocks_of_frames_leave_no_seam(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coded 8 frames at a time or all 45 at once: the same tokens, the same frames within rounding."""
    original = write_video(tmp_path / "a.mp4", 45, 24, 36)
    tokens, restored = {}, {}
    for block in (8, 24, 64):
        monkeypatch.setattr(window, "BLOCK_FRAMES", block)
        folder = tmp_path / str(block)
        compress.run(run, [original], folder, "cpu")
        decompress.run([folder / "a.mp4.acz"], folder, run, "cpu")
        tokens[block] = tokens_of(folder / "a.mp4.acz", run)
        restored[block] = frames_of(folder / "a.mkv")[0].astype(int)
    assert [len(found) for found in tokens.values()] == [6, 2, 1]
    for block in (8, 24):
        assert np.array_equal(np.concatenate(tokens[block]), tokens[64][0])
        assert np.abs(restored[block] - restored[64]).max() <= 1


def test_windows_coded_alone_would_leave_one(run: Path) -> None:
    """The seam that streaming avoids is there when the past is forgotten."""
    pipeline = Pipeline.open(run, "cpu")
    windows = np.random.default_rng(0).normal(size=(2, 3, 8, 16, 16)).astype(np.float32)
    tokens = pipeline.codec.encode(windows)
    alone, streamed = pipeline.codec.decode(tokens), pipeline.codec.stream(1).decode(tokens)
    np.testing.assert_allclose(alone[0], streamed[0], atol=1e-5)
    assert np.abs(alone[1, :, 0] - streamed[1, :, 0]).max() > 1e-3


def test_tiles_do_not_share_a_past(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tiles in two steps, computed one or two at a time, are three videos of one tile."""
    codec = Pipeline.open(run, "cpu").codec
    windows = np.random.default_rng(0).normal(size=(6, 3, 8, 16, 16)).astype(np.float32)
    for chunk in (1, 2 * windows[0].size):
        monkeypatch.setattr("anycodec.torch.engine._CHUNK_VALUES", chunk)
        together = codec.stream(3)
        found = np.concatenate([together.encode(part).grids[0] for part in (windows[:3], windows[3:])])
        for tile in range(3):
            alone = codec.stream(1).encode(windows[tile::3]).grids[0]
            assert np.array_equal(found[tile::3], alone)


def test_evaluation_with_a_baseline(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "BASELINE_VALUES", 2**16)
    monkeypatch.setattr(evaluate, "fit_at_rate", partial(fit_at_rate, max_codes=32))
    assert evaluate.run(run, [], "cpu") == 0
    result = Evaluation.from_json((run / "evaluation.json").read_text())
    assert result.kind == "video"
    assert result.baseline is not None
    assert "frames of" in result.baseline.description
    # at most 5 bits for each 4 x 8 x 8 pixels
    assert 0 < result.codec.rate.nominal <= 5 / (4 * 8 * 8 * 3) + 1e-9


def test_arrays_of_frames(run: Path) -> None:
    codec = anycodec.load(run, device="cpu")
    values = np.random.default_rng(0).integers(0, 256, (9, 20, 17, 3)).astype(np.uint8)
    restored = codec.decode(codec.encode(values))
    assert restored.shape == values.shape
    assert restored.dtype == np.uint8


def test_inspect_names_the_clip(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect.run(run) == 0
    assert "8 x 16 x 16" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "where", "what"),
    [
        ("data.window.frames=2", "data.window.frames", "does not divide the window's 2 along T"),
        ("data.window.size=[4,16]", "data.window.size", "does not divide the window's 4 along H"),
        ("data.type=image", "codec.type", "causal3d works on axes THW, data of type image has HW"),
    ],
)
def test_windows_that_do_not_fit_are_named(tmp_path: Path, setting: str, where: str, what: str) -> None:
    config = tmp_path / "config.yaml"
    text = CONFIG.replace("frames: 8", "") if "image" in setting else CONFIG
    config.write_text(text.replace("  writer: ffv1\n", "") if "image" in setting else text)
    with pytest.raises(ConfigError, match=what) as caught:
        load_spec(config, [setting])
    assert where in str(caught.value)
