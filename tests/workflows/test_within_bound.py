"""Files within an error bound, and without loss: what comes back is measured on real files."""

from __future__ import annotations

import shutil
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from PIL import Image
from typer.testing import CliRunner, Result

from anycodec.bitstream.container import AczReader
from anycodec.cli import app
from anycodec.errors import FormatError, UserError
from anycodec.workflows import compress, decompress, within_bound
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.train import run as train
from anycodec.workflows.within_bound import make_bound

GOLDEN = Path(__file__).parents[1] / "golden" / "acz_v1"
NATIVE = {"table": "table.csv", "image": "image.png", "pod5": "pod5.pod5"}
CODEC_1D = """
codec:
  {type: simvqgan, base_channels: 4, stem_stride: 2, channels: [4], strides: [2], res_blocks: 0,
   norm_groups: 2, mid_blocks: 0, latent_channels: 4, patch_skip: true,
   quantizer: {type: vq, codebook_size: 16}}
train: {steps: 2, batch_size: 4, val_every: 2, val_batches: 1, threads: 1}
"""
CODEC_2D = """
codec:
  {type: vqgan, base_channels: 4, channel_multipliers: [1, 1], attention_levels: [], mid_attention: false,
   norm_groups: 2, res_blocks: 1, latent_channels: 4, patch_skip: true,
   quantizer: {type: vq, codebook_size: 16}}
train: {steps: 2, batch_size: 2, val_every: 2, val_batches: 1, threads: 1}
"""
same_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=25
)


def run_of(kind: str) -> Path:
    return GOLDEN / kind / "run"


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Pipeline]:
    return {kind: Pipeline.open(run_of(kind), "cpu") for kind in NATIVE}


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A codec of arrays [T C]."""
    folder = tmp_path_factory.mktemp("arrays")
    (folder / "data").mkdir()
    np.save(folder / "data" / "a.npy", np.random.default_rng(0).normal(size=(900, 1)).cumsum(axis=0))
    config = folder / "config.yaml"
    data = (
        "type: array, layout: tc, channels: independent, normalizer: {type: revin}, "
        f"window: {{samples: 32}}, workers: 0, root: {folder / 'data'}"
    )
    config.write_text(f"name: arrays\ndata: {{{data}}}{CODEC_1D}")
    train(config, [], folder / "run", False, True)
    return Pipeline.open(folder / "run", "cpu")


def round_trip(pipeline: Pipeline, source: Path, folder: Path, bound: dict) -> Path:
    """Compress and restore one file; both folders are new."""
    shutil.rmtree(folder, ignore_errors=True)
    arguments = {"max_error": None, **bound}
    assert compress.run_with(pipeline, [source], folder / "acz", make_bound(**arguments)) == 0
    packed = folder / "acz" / f"{source.name}.acz"
    assert decompress.run_with([packed], folder / "out", lambda _: pipeline) == 0
    return folder / "out" / source.with_suffix(".png" if source.suffix == ".png" else source.suffix).name


def acz(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


# --- version 1 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(NATIVE))
def test_files_of_version_1_decode_for_ever(kind: str, tmp_path: Path) -> None:
    """Written by anycodec 0.1.0 before there was a version 2; floats may differ a little elsewhere."""
    name = NATIVE[kind]
    assert decompress.run([GOLDEN / kind / f"{name}.acz"], tmp_path, run_of(kind), "cpu") == 0
    if kind == "table":
        found, wanted = (pd.read_csv(folder / name) for folder in (tmp_path, GOLDEN / kind))
        assert found.iloc[:, 0].tolist() == wanted.iloc[:, 0].tolist()
        assert np.isnan(found.iloc[:, 2]).tolist() == np.isnan(wanted.iloc[:, 2]).tolist()
        np.testing.assert_allclose(found.iloc[:, 1:], wanted.iloc[:, 1:], atol=0.002)
    elif kind == "image":
        found, wanted = (np.asarray(Image.open(folder / name), int) for folder in (tmp_path, GOLDEN / kind))
        assert np.abs(found - wanted).max() <= 1
    else:
        for found, wanted in zip(reads(tmp_path / name), reads(GOLDEN / kind / name), strict=True):
            assert np.abs(found - wanted).max() <= 1


def reads(path: Path) -> list[np.ndarray]:
    pod5 = pytest.importorskip("pod5")
    with pod5.Reader(path) as file:
        return [read.signal.astype(int) for read in file.reads()]


# --- bounds hold --------------------------------------------------------------------------------

DTYPES = [
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "bool",
]


@st.composite
def signals(draw: st.DrawFn) -> np.ndarray:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.integers(1, 300)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["walk", "noise", "constant", "extremes", "decimals"]))
    if dtype.kind == "f":
        size = 10.0 ** draw(st.integers(-6, 3 if dtype.itemsize == 2 else 30))
        values = {
            "walk": lambda: size * rng.normal(size=shape).cumsum(axis=0),
            "noise": lambda: size * rng.normal(size=shape),
            "constant": lambda: np.full(shape, size),
            "extremes": lambda: rng.choice([np.finfo(dtype).max, np.finfo(dtype).tiny, 0, -1], shape),
            "decimals": lambda: rng.integers(-999, 999, shape) / 100,
        }[kind]()
        with np.errstate(over="ignore"):
            values = values.astype(dtype)
        holes = rng.random(shape) < draw(st.sampled_from([0, 0, 0.1, 1]))
        values[holes] = rng.choice([np.nan, np.inf, -np.inf], int(holes.sum()))
        return values
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if kind == "extremes":
        return rng.choice(np.array(limits, dtype), shape)
    middle = (limits[0] + limits[1]) // 2
    steps = rng.integers(-3, 4, shape).cumsum(axis=0) if kind == "walk" else rng.integers(-9, 10, shape)
    return np.clip(steps.astype(object) * (kind != "constant") + middle, *limits).astype(dtype)


@given(
    signals(),
    st.sampled_from([0, 1e-9, 1e-3, 0.004999, 0.3, 1, 2.5, 1000, 1e20]),
    st.sampled_from(["native", "relative"]),
)
@example(np.array([[0.1257]], np.float16), 0, "native")
@same_folder
def test_every_value_of_an_array_is_within_its_bound(arrays, tmp_path, values, most, unit) -> None:
    np.save(tmp_path / "a.npy", values)
    found = np.load(round_trip(arrays, tmp_path / "a.npy", tmp_path / "t", {"max_error": most, "unit": unit}))
    assert found.dtype == values.dtype
    present = np.isfinite(values)
    np.testing.assert_array_equal(found[~present], values[~present])
    for channel in range(values.shape[1]):
        here = present[:, channel]
        x, y = values[here, channel], found[here, channel]
        if not len(x):
            continue
        bound = most if unit == "native" else most * (float(x.max()) - float(x.min()))
        if values.dtype.kind == "f":
            assert np.abs(x.astype(np.float64) - y.astype(np.float64)).max() <= bound
        else:
            assert max(abs(int(a) - int(b)) for a, b in zip(x, y, strict=True)) <= bound


@given(signals())
@same_folder
def test_without_loss_every_bit_of_an_array_returns(arrays, tmp_path, values) -> None:
    np.save(tmp_path / "a.npy", values)
    found = round_trip(arrays, tmp_path / "a.npy", tmp_path / "t", {"lossless": True})
    finite = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    assert np.load(found)[finite].tobytes() == values[finite].tobytes()
    np.testing.assert_array_equal(np.load(found), values)


@pytest.mark.parametrize("most", [0.0, 0.5, 3.0, 20.0])
def test_pod5(pipelines, tmp_path, most: float) -> None:
    pod5 = pytest.importorskip("pod5")
    source = GOLDEN / "pod5" / "pod5.pod5"
    found = round_trip(pipelines["pod5"], source, tmp_path, {"max_error": most})
    with pod5.Reader(source) as before, pod5.Reader(found) as after:
        for one, other in zip(before.reads(), after.reads(), strict=True):
            assert one.read_id == other.read_id
            assert np.abs(one.signal_pa.astype(float) - other.signal_pa).max() <= most
            assert most or np.array_equal(one.signal, other.signal)


@pytest.mark.parametrize("most", [0, 1, 7.5])
def test_pictures(pipelines, tmp_path, most: float) -> None:
    rng = np.random.default_rng(0)
    pixels = (
        (rng.normal(size=(40, 50, 3)).cumsum(axis=0).cumsum(axis=1) * 3 + 128).clip(0, 255).astype(np.uint8)
    )
    for mode, picture in (
        ("RGB", pixels),
        ("L", pixels[..., 0]),
        ("RGBA", np.concatenate([pixels, pixels[..., :1]], -1)),
    ):
        Image.fromarray(picture, mode).save(tmp_path / "a.png")
        found = np.asarray(
            Image.open(
                round_trip(pipelines["image"], tmp_path / "a.png", tmp_path / "t", {"max_error": most})
            )
        )
        assert np.abs(found.astype(int) - picture).max() <= most
    deep = pixels[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "a.png")
    found = np.asarray(
        Image.open(round_trip(pipelines["image"], tmp_path / "a.png", tmp_path / "t", {"max_error": most}))
    )
    assert np.abs(found.astype(int) - deep).max() <= most


def test_tables_keep_what_is_not_a_number(pipelines, tmp_path) -> None:
    """Fixed decimals, whole numbers, full floats, gaps: each cell within the bound as printed."""
    rng = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame({
        "time": pd.date_range("2026-01-01", periods=n, freq="h"),
        "fixed": np.round(rng.normal(size=n).cumsum(), 2), "whole": rng.integers(-50, 50, n),
        "full": rng.normal(size=n) * 1e-3, "label": ["a", "b"] * (n // 2),
    })  # fmt: skip
    frame.loc[[3, 4, 70], "full"] = np.nan
    frame.loc[9, "fixed"] = np.inf
    frame.to_csv(tmp_path / "a.csv", index=False)
    for bound in (
        {"max_error": 0.25},
        {"max_error": 0.01},
        {"max_error": 0.01, "unit": "relative"},
        {"lossless": True},
    ):
        path = round_trip(pipelines["table"], tmp_path / "a.csv", tmp_path / "t", bound)
        found, wanted = pd.read_csv(path), pd.read_csv(tmp_path / "a.csv")
        assert found[["time", "label"]].equals(wanted[["time", "label"]])
        for name in ("fixed", "whole", "full"):
            x = wanted[name].to_numpy(float)
            present = np.isfinite(x)
            np.testing.assert_array_equal(found[name].to_numpy(float)[~present], x[~present])
            most = bound.get("max_error", 0.0)
            most *= np.ptp(x[present]) if "unit" in bound else 1
            assert np.abs(found[name].to_numpy(float)[present] - x[present]).max() <= most
        if "lossless" in bound:
            assert path.read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_video(tmp_path: Path) -> None:
    """Restored as lossless video, whatever the run's writer."""
    pytest.importorskip("av")
    from anycodec.config.data import VideoSource
    from anycodec.io.formats import read
    from anycodec.workflows import samples

    samples.run("video", tmp_path / "data", seed=1, size="small")
    source = next(iter(sorted((tmp_path / "data").rglob("*.mp4"))))
    config = tmp_path / "config.yaml"
    data = f"type: video, window: {{size: [16, 16]}}, workers: 0, root: {source.parent}"
    config.write_text(f"name: v\ndata: {{{data}}}{CODEC_2D}")
    train(config, [], tmp_path / "run", False, True)
    pipeline = Pipeline.open(tmp_path / "run", "cpu")
    assert compress.run_with(pipeline, [source], tmp_path / "acz", make_bound(6)) == 0
    packed = tmp_path / "acz" / f"{source.name}.acz"
    assert decompress.run_with([packed], tmp_path / "out", lambda _: pipeline) == 0
    (restored,) = (tmp_path / "out").iterdir()
    assert restored.suffix == ".mkv"
    for one, other in zip(read(source, VideoSource(), 64), read(restored, VideoSource(), 64), strict=True):
        assert np.abs(one.values.astype(int) - other.values).max() <= 6


# --- which path, and how large ------------------------------------------------------------------


def test_never_larger_than_the_plain_path(arrays, tmp_path) -> None:
    """Noise: tokens cannot help. The file is what its residual is, the header and little more."""
    values = np.random.default_rng(0).integers(-2000, 2000, (20_000, 1)).astype(np.int16)
    np.save(tmp_path / "a.npy", values)
    round_trip(arrays, tmp_path / "a.npy", tmp_path / "t", {"lossless": True})
    with AczReader(tmp_path / "t" / "acz" / "a.npy.acz") as reader:
        totals, sizes, size = reader.totals, reader.sizes(), reader.size
    assert (totals.plain, totals.codec, totals.raw) == (1, 0, 0)
    assert size - sizes["residuals"] < 1200
    assert 8 * sizes["residuals"] / 20_000 < np.log2(4000) + 0.4


def test_the_file_says_its_bound(arrays, tmp_path) -> None:
    np.save(tmp_path / "a.npy", np.arange(500.0)[:, None])
    round_trip(arrays, tmp_path / "a.npy", tmp_path / "t", {"max_error": 0.5, "unit": "relative"})
    with AczReader(tmp_path / "t" / "acz" / "a.npy.acz") as reader:
        assert reader.version == 2
        assert (reader.header.bound.max_error, reader.header.bound.unit) == (0.5, "relative")
    shown = acz("inspect", tmp_path / "t" / "acz" / "a.npy.acz").output
    assert "0.5" in shown
    assert "relative" in shown
    assert "plain" in shown


def test_options_that_contradict_each_other() -> None:
    for arguments in ({"max_error": 1.0, "lossless": True}, {"max_error": -1.0}, {"max_error": float("nan")}):
        with pytest.raises(UserError):
            make_bound(**arguments)
    assert make_bound(None) is None


def test_from_the_command_line(tmp_path) -> None:
    source = GOLDEN / "table" / "table.csv"
    assert acz("compress", run_of("table"), source, "-o", tmp_path, "--max-error", "0.25").exit_code == 0
    packed = tmp_path / "table.csv.acz"
    assert acz("decompress", packed, "-o", tmp_path / "out", "--run", run_of("table")).exit_code == 0
    found, wanted = pd.read_csv(tmp_path / "out" / "table.csv"), pd.read_csv(source)
    assert np.nanmax(np.abs(found.iloc[:, 1:] - wanted.iloc[:, 1:])) <= 0.25


# --- by way of the codec ------------------------------------------------------------------------


@pytest.fixture
def codec_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments by way of the codec, even where the plain path is smaller."""

    def candidates(self, signal, gridded):
        assert gridded is not None
        yield self._by_codec(signal, gridded)

    monkeypatch.setattr(within_bound.BoundedEncoder, "_candidates", candidates)


def values_of(path: Path) -> list[np.ndarray]:
    if path.suffix == ".csv":
        return [pd.read_csv(path).iloc[:, 1:].to_numpy(float)]
    return [np.asarray(Image.open(path), int)] if path.suffix == ".png" else reads(path)


@pytest.mark.usefixtures("codec_only")
@pytest.mark.parametrize(("kind", "most", "steps"), [("table", 0.3, 0.3), ("image", 4, 4), ("pod5", 0, 0)])
def test_the_codec_restores_the_same_on_any_number_of_threads(pipelines, tmp_path, kind, most, steps) -> None:
    source = GOLDEN / kind / NATIVE[kind]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = round_trip(pipelines[kind], source, tmp_path, {"max_error": most})
        packed = tmp_path / "acz" / f"{source.name}.acz"
        with AczReader(packed) as reader:
            assert reader.totals.codec == reader.totals.segments > 0
            assert reader.totals.tokens > 0
        torch.set_num_threads(2)
        assert decompress.run([packed], tmp_path / "two", run_of(kind), "cpu") == 0
    finally:
        torch.set_num_threads(threads)
    for found, again, wanted in zip(
        values_of(one), values_of(tmp_path / "two" / one.name), values_of(source), strict=True
    ):
        np.testing.assert_array_equal(found, again)
        assert np.nanmax(np.abs(found - wanted)) <= steps


@pytest.mark.usefixtures("codec_only")
def test_a_codec_that_restores_other_values_is_named(pipelines, tmp_path, monkeypatch) -> None:
    source = GOLDEN / "table" / "table.csv"
    bound = make_bound(0.3)
    assert compress.run_with(pipelines["table"], [source], tmp_path, bound) == 0
    right = Pipeline.floats
    monkeypatch.setattr(Pipeline, "floats", lambda *given: right(*given) + np.float32(0.5))
    with pytest.raises(FormatError, match="restores other values here") as caught:
        decompress.run_with([tmp_path / "table.csv.acz"], tmp_path / "out", lambda _: pipelines["table"])
    assert "--device cpu" in str(caught.value.how)
    assert not list(tmp_path.glob("out/*"))
