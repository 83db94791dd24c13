"""The whole chain in miniature on each kind of file: train, compress, decompress, evaluate."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import anycodec
from anycodec.checkpoint import RunDirectory
from anycodec.errors import FormatError, ResourceError, RunError, UserError
from anycodec.metrics.baseline import fit_at_rate
from anycodec.metrics.evaluation import Evaluation
from anycodec.workflows import compress, decompress, evaluate, inspect, samples
from anycodec.workflows.train import run as train

CODEC_1D = """\
codec:
  type: simvqgan
  base_channels: 8
  stem_stride: 2
  channels: [8]
  strides: [2]
  res_blocks: 1
  latent_channels: 8
  norm_groups: 4
  patch_skip: true
  quantizer: {type: simvq, codebook_size: 32, kmeans_after: 0}
train: {steps: 6, batch_size: 4, val_every: 3, val_batches: 2, threads: 1}
"""
CODEC_2D = """\
codec:
  type: vqgan
  base_channels: 8
  channel_multipliers: [1, 1, 2]
  attention_levels: [2]
  res_blocks: 1
  latent_channels: 16
  norm_groups: 4
  patch_skip: true
  quantizer: {type: vq, codebook_size: 32}
train: {steps: 4, batch_size: 2, val_every: 2, val_batches: 2, threads: 1, best: {metric: val/psnr}}
"""
KINDS = {
    "nanopore": (
        "data: {type: pod5, workers: 0, window: {samples: 256, overlap: 16}}\n" + CODEC_1D,
        "*/*.pod5",
    ),
    "series": (
        "data: {type: table, workers: 0, window: {samples: 64}, normalizer: {type: revin}}\n" + CODEC_1D,
        "*.csv",
    ),
    "images": ("data: {type: image, workers: 0, window: {size: [32, 32]}}\n" + CODEC_2D, "**/*.png"),
    "video": (
        "data: {type: video, workers: 0, window: {size: [32, 32], frames: 2}}\n" + CODEC_2D,
        "*.mp4",
    ),
}


@dataclass(frozen=True)
class Trained:
    kind: str
    data: Path
    run: Path
    files: list[Path]


@pytest.fixture(scope="module", params=list(KINDS))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    kind: str = request.param
    folder = tmp_path_factory.mktemp(kind)
    samples.run(kind, folder / "data", seed=3, size="small")
    text, pattern = KINDS[kind]
    config = folder / "config.yaml"
    config.write_text(f"name: {kind}\n{text}")
    files = sorted((folder / "data").glob(pattern))
    train(config, [f"data.root={folder / 'data'}/{pattern}"], folder / "run", False, True)
    return Trained(kind, folder / "data", folder / "run", files)


def packed(trained: Trained, out: Path) -> Path:
    assert compress.run(trained.run, trained.files[:1], out, "cpu") == 0
    (file,) = out.glob("*.acz")
    return file


def test_files_come_back_in_their_own_format(trained: Trained, tmp_path: Path) -> None:
    file = packed(trained, tmp_path / "packed")
    original = trained.files[0]
    assert file.stat().st_size < original.stat().st_size
    assert decompress.run([file], tmp_path / "out", None, "cpu") == 0
    (restored,) = (tmp_path / "out").iterdir()
    SAME[trained.kind](original, restored)


def same_pod5(original: Path, restored: Path) -> None:
    pod5 = pytest.importorskip("pod5")
    with pod5.Reader(original) as one, pod5.Reader(restored) as two:
        for a, b in zip(one.reads(), two.reads(), strict=True):
            assert (a.read_id, a.calibration, a.num_samples) == (b.read_id, b.calibration, b.num_samples)
            assert (a.pore, a.end_reason, a.read_number) == (b.pore, b.end_reason, b.read_number)
            assert a.run_info == b.run_info
            assert np.corrcoef(a.signal, b.signal)[0, 1] > 0.5


def same_csv(original: Path, restored: Path) -> None:
    one, two = pd.read_csv(original), pd.read_csv(restored)
    assert list(one.columns) == list(two.columns)
    assert one.dtypes.equals(two.dtypes)
    assert one.isna().equals(two.isna())
    for name in one.columns:
        if one[name].dtype.kind not in "fi":
            assert one[name].equals(two[name])
        else:
            assert one[name].corr(two[name]) > 0.5


def same_png(original: Path, restored: Path) -> None:
    with Image.open(original) as one, Image.open(restored) as two:
        assert (one.size, one.mode) == (two.size, two.mode)
        error = np.asarray(one, np.float64) - np.asarray(two, np.float64)
        assert np.sqrt(np.square(error).mean()) < np.asarray(one).std()


def same_video(original: Path, restored: Path) -> None:
    av = pytest.importorskip("av")

    def shape(path: Path) -> tuple[int, int, int, object]:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return sum(1 for _ in container.decode(stream)), stream.width, stream.height, stream.average_rate

    assert shape(original) == shape(restored)


SAME = {"nanopore": same_pod5, "series": same_csv, "images": same_png, "video": same_video}


def test_evaluation_writes_figures_and_report(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "BASELINE_VALUES", 2**16)
    monkeypatch.setattr(evaluate, "fit_at_rate", partial(fit_at_rate, max_codes=64))
    inputs = trained.files[:1] if trained.kind in {"images", "video"} else []  # many pixels take long
    assert evaluate.run(trained.run, inputs, "cpu") == 0
    run = RunDirectory(trained.run)
    result = Evaluation.from_json((trained.run / "evaluation.json").read_text())
    assert result.baseline is not None
    assert result.codec.rate.bits_per_value > 0
    # with all side information counted, the rate is that of whole files
    assert result.codec.rate.total_bytes == sum(result.codec.rate.bytes.values())
    assert result.codec.original["seams"] > 0
    assert "<html" in run.report.read_text()
    assert list(run.figures.glob("*.png"))
    assert run.read_manifest()["metrics"]["snr"] == pytest.approx(result.codec.original["snr"], abs=1e-5)


def test_existing_files_are_never_overwritten(trained: Trained, tmp_path: Path) -> None:
    file = packed(trained, tmp_path)
    before = file.read_bytes()
    with pytest.raises(UserError, match="exists already"):
        compress.run(trained.run, trained.files[:1], tmp_path, "cpu")
    assert file.read_bytes() == before


def test_a_flipped_byte_is_refused_and_leaves_nothing(trained: Trained, tmp_path: Path) -> None:
    file = packed(trained, tmp_path / "packed")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(FormatError):
        decompress.run([file], tmp_path / "out", trained.run, "cpu")
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_a_full_disk_leaves_no_file(trained: Trained, tmp_path: Path, small_disk: Path) -> None:
    file = packed(trained, tmp_path)
    with pytest.raises(ResourceError, match="no space left on the disk"):
        decompress.run([file], small_disk / "out", trained.run, "cpu")
    assert not [path for path in small_disk.rglob("*") if path.is_file()]


def test_inspect_shows_file_and_run(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = packed(trained, tmp_path)
    assert inspect.run(file) == 0
    assert inspect.run(trained.run) == 0
    shown = capsys.readouterr().out
    assert "bits" in shown
    assert trained.kind in shown


def test_a_damaged_file_among_good_ones_is_named(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    good, bad = trained.files[0], folder / f"bad{trained.files[0].suffix}"
    (folder / good.name).write_bytes(good.read_bytes())
    bad.write_bytes(b"\x00\xff" * 50)
    command = ["compress", str(trained.run), str(folder), "-o", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "anycodec", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "bad" in done.stdout + done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [good.name + ".acz"]


def test_the_wrong_codec_is_refused_by_name(trained: Trained, tmp_path: Path) -> None:
    file = packed(trained, tmp_path / "packed")
    other = tmp_path / "other"
    other.mkdir()
    for part in ("config.yaml", "manifest.json", "weights.safetensors", "statistics.safetensors"):
        (other / part).write_bytes((trained.run / part).read_bytes())
    run = RunDirectory(other)
    statistics = run.read_statistics()
    statistics["token_counts.0"] = statistics["token_counts.0"] + 1
    run.write_statistics(statistics)
    with pytest.raises(FormatError, match="codec"):
        decompress.run([file], tmp_path / "out", other, "cpu")


def test_an_unfinished_run_is_refused(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes((trained.run / "config.yaml").read_bytes())
    with pytest.raises(RunError):
        compress.run(tmp_path, trained.files[:1], tmp_path / "out", "cpu")


def test_python_interface_agrees_with_itself(trained: Trained) -> None:
    codec = anycodec.load(trained.run, device="cpu")
    rng = np.random.default_rng(0)
    if codec.spec.codec.axes == "T":
        values = rng.normal(size=(300, 1)).cumsum(axis=0)
    else:
        values = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    encoded = codec.encode(values)
    restored = codec.decode(encoded)
    assert restored.shape == values.shape
    assert encoded.tokens.codebook_sizes == codec.codebook_sizes == (32,)
    again = codec.encode(values)
    assert all(np.array_equal(a, b) for a, b in zip(again.tokens.grids, encoded.tokens.grids, strict=True))
    assert np.array_equal(codec.decode(again), restored)
