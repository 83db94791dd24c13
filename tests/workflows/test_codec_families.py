"""Every family of codecs from training to files and back; new ones enrol by themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from anycodec.bitstream.container import AczReader
from anycodec.cli import app
from anycodec.config.codec import CodecSpec, TotemSpec, VqganSpec, Vqvae2Spec
from anycodec.config.data import ImageSource, TableSource, VideoSource
from anycodec.config.loader import dump_spec
from anycodec.config.quantizer import EmaSpec, FsqSpec, OptVqSpec
from anycodec.config.run import RunSpec, window_shape
from anycodec.config.train import TrainSpec
from anycodec.data.samples import images, series, video
from anycodec.io import formats
from anycodec.metrics.baseline import fit_at_rate
from anycodec.types import FileInfo, Signal, SignalInfo
from anycodec.workflows import compress, config, decompress, evaluate
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.train import run as train
from contracts.specs import CODECS, codec_spec, type_of

MIXED = (EmaSpec(codebook_size=16), FsqSpec(levels=(3, 3)))
FAMILIES: dict[str, CodecSpec] = {
    **{type_of(kind): codec_spec(kind) for kind in CODECS},
    "totem in patches": codec_spec(TotemSpec, patch=8),
    "vqgan of dome272": codec_spec(VqganSpec, backbone="dome272"),
    "vqgan in patches": codec_spec(VqganSpec, patch_size=2),
    "vqvae2 of different levels": codec_spec(Vqvae2Spec, level_quantizers=MIXED),
    "vqvae2 with optvq": codec_spec(Vqvae2Spec, OptVqSpec),
}
WITH_TOKENS = [name for name, spec in FAMILIES.items() if spec.codebook_sizes]


def write_table(folder: Path) -> Path:
    frame = pd.DataFrame(next(series.tables(0, "small")).columns)
    frame.iloc[:400].to_csv(folder / "0.csv", index=False)
    return folder / "0.csv"


def write_pictures(folder: Path) -> Path:
    for number, picture in enumerate(islice(images.pictures(0, "small"), 3)):
        Image.fromarray(picture.pixels[:36, :50]).save(folder / f"{number}.png")
    return folder / "0.png"


def write_video(folder: Path) -> Path:
    frames = next(video.clips(0, "small")).frames[:30, :24, :36]
    info = SignalInfo(id="", axes="THWC", shape=frames.shape, dtype="uint8", rate=25, unit="level")
    meta = {"writer": "ffv1", "fps": [25, 1], "time_base": [1, 25], "even": True, "size": frames.shape[1:3]}
    path = folder / "0.mkv"
    file = FileInfo(path=str(path), format="video", n_signals=1, meta=meta | {"pixel_aspect": None})
    formats.write(path, file, [Signal(info=info, values=frames)])
    return path


def data_of(spec: CodecSpec, folder: Path) -> tuple[TableSource | ImageSource | VideoSource, Path]:
    """A source with windows of 4 tokens of the coarsest level along each axis, and one of its files."""
    extents = tuple(4 * stride for stride in spec.stride)
    match spec.axes:
        case "T":
            given = {"window": {"samples": extents[0]}, "normalizer": {"type": "revin"}}
            return TableSource(root=folder, workers=0, **given), write_table(folder)
        case "HW":
            return ImageSource(root=folder, workers=0, window={"size": extents}), write_pictures(folder)
        case _:
            window = {"frames": extents[0], "size": extents[1:]}
            source = VideoSource(root=folder, workers=0, window=window, writer="ffv1")
            return source, write_video(folder)


@dataclass(frozen=True)
class Trained:
    spec: RunSpec
    run: Path
    file: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """The run of a family after 3 steps."""

    @cache
    def train_family(name: str) -> Trained:
        folder = tmp_path_factory.mktemp("family")
        (folder / "data").mkdir()
        data, file = data_of(FAMILIES[name], folder / "data")
        loop = TrainSpec(steps=3, batch_size=4, val_every=3, val_batches=1, threads=1, device="cpu")
        spec = RunSpec(data=data, codec=FAMILIES[name], train=loop)
        (folder / "config.yaml").write_text(dump_spec(spec))
        train(folder / "config.yaml", [], folder / "run", resume=False, quiet=True)
        return Trained(spec, folder / "run", file)

    return train_family


def values_of(path: Path) -> np.ndarray:
    """Numbers of a table, pixels of a picture, frames of a video."""
    if path.suffix == ".csv":
        return pd.read_csv(path).select_dtypes("number").to_numpy()
    source = VideoSource() if path.suffix == ".mkv" else ImageSource()
    with formats.open_file(path, source) as reader:
        return np.concatenate([signal.values for signal in reader.segments(64)])


@pytest.mark.parametrize("family", WITH_TOKENS)
def test_a_file_comes_back_by_way_of_its_tokens(trained, tmp_path, family):
    found = trained(family)
    assert compress.run(found.run, [found.file], tmp_path, "cpu") == 0
    packed = tmp_path / f"{found.file.name}.acz"
    codec, window = found.spec.codec, window_shape(found.spec.data, found.spec.codec.axes)
    with AczReader(packed) as reader:
        for _, segment in reader.segments(Pipeline.open(found.run, "cpu").coder):
            for grid, size, stride in zip(
                segment.tokens.grids, codec.codebook_sizes, codec.token_strides, strict=True
            ):
                assert grid.shape[1:] == tuple(extent // s for extent, s in zip(window, stride, strict=True))
                assert grid.max() < size
    assert decompress.run([packed], tmp_path / "back", None, "cpu") == 0
    before, after = values_of(found.file), values_of(tmp_path / "back" / found.file.name)
    assert after.shape == before.shape
    assert after.dtype == before.dtype
    assert np.array_equal(np.isfinite(after), np.isfinite(before)), "gaps stay, and there are no others"


@pytest.mark.parametrize("family", FAMILIES)
def test_evaluation_counts_rate_and_error(trained, monkeypatch, family):
    monkeypatch.setattr(evaluate, "BASELINE_VALUES", 2**14)
    monkeypatch.setattr(evaluate, "fit_at_rate", partial(fit_at_rate, max_codes=16))
    found = trained(family)
    result, _ = evaluate.evaluate(Pipeline.open(found.run, "cpu"), [found.file], "cpu")
    assert 0 < result.codec.original["rmse"] < math.inf
    codec = found.spec.codec
    if not codec.codebook_sizes:
        assert result.codec.rate is None
        return
    bits = zip(codec.codebook_sizes, codec.token_strides, strict=True)
    per_position = sum(math.log2(size) / math.prod(stride) for size, stride in bits)
    channels = 1 if codec.axes == "T" else 3
    assert result.codec.rate.nominal == pytest.approx(per_position / channels)
    assert result.codec.rate.bits_per_value > 0
    assert result.baseline is not None
    assert [len(level) for level in result.token_counts] == list(codec.codebook_sizes)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in WITH_TOKENS])
def test_without_tokens_nothing_is_stored(trained, tmp_path, family):
    found = trained(family)
    words = ["compress", str(found.run), str(found.file), "-o", str(tmp_path / "packed")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "this codec has continuous latents and no tokens (its quantizer is kl)" in said
    assert "train one with a quantizer that has codes" in said
    assert not (tmp_path / "packed").exists()


@pytest.mark.parametrize(
    ("family", "summary"),
    [
        ("totem in patches", "totem with vq; window 32 samples, 8 tokens of 16 codes"),
        ("vqvae2 of different levels", "vqvae2 with ema, fsq"),
        ("vqvae2 with optvq", "vqvae2 with optvq"),
        ("klvae", "klvae with kl"),
    ],
)
def test_the_check_names_codec_and_quantizers(trained, capsys, family, summary):
    config.check(trained(family).run.parent / "config.yaml", [])
    assert summary in capsys.readouterr().out
