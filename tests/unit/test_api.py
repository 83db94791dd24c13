"""The Python interface on arrays and DataFrames."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import anycodec
from anycodec.api import SeriesCodec
from anycodec.checkpoint import RunDirectory
from anycodec.config.codec import SimVqganSpec, VqganSpec
from anycodec.config.data import ImageSource, Window2d
from anycodec.config.quantizer import VqSpec
from anycodec.config.run import RunSpec
from anycodec.config.train import TrainSpec
from anycodec.errors import DataError, RunError, UserError
from anycodec.workflows import samples
from anycodec.workflows.train import train

TINY = SimVqganSpec(
    base_channels=8, stem_stride=2, channels=(8,), strides=(2,), res_blocks=0, mid_blocks=0,
    latent_channels=8, patch_skip=True, quantizer=VqSpec(codebook_size=16),
)  # fmt: skip


def tiny(**settings: object) -> SeriesCodec:
    return SeriesCodec(window=16, codec=TINY, steps=3, batch_size=4, **settings)  # type: ignore[arg-type]


def wave(length: int = 600, channels: int = 2) -> np.ndarray:
    t = np.arange(length)[:, None]
    return np.sin(t / 7 + np.arange(channels)) * 10 + 100


@pytest.fixture(scope="module")
def fitted() -> SeriesCodec:
    return tiny().fit(wave())


@pytest.mark.parametrize("shape", [(1,), (5,), (100,), (100, 1), (100, 3), (2, 3, 50), (1, 1, 17)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8", "bool"])
def test_shape_and_type_come_back(fitted: SeriesCodec, shape: tuple[int, ...], dtype: str) -> None:
    x = (np.random.default_rng(0).random(shape) * 100 > 50) * np.ones(shape)
    back = fitted.inverse_transform(fitted.transform(x.astype(dtype)))
    assert isinstance(back, np.ndarray)
    assert (back.shape, back.dtype) == (shape, np.dtype(dtype))


def test_several_series_are_coded_like_single_ones(fitted: SeriesCodec) -> None:
    x = np.random.default_rng(1).normal(size=(3, 2, 40))
    together = fitted.inverse_transform(fitted.transform(x))
    for one, back in zip(x, together, strict=True):
        np.testing.assert_array_equal(fitted.inverse_transform(fitted.transform(one.T)), back.T)


@pytest.mark.parametrize("x", [wave(channels=1)[:, 0], wave(), np.stack([wave().T] * 3)])
def test_fit_takes_each_layout(x: np.ndarray) -> None:
    codec = tiny()
    encoded = codec.fit_transform(x)
    assert encoded.tokens.codebook_sizes == (16,)
    back = codec.inverse_transform(encoded)
    assert np.corrcoef(np.ravel(back), x.ravel())[0, 1] > 0.9


def test_brief_training_restores_a_sine() -> None:
    """60 steps, one of 64 codes for 4 of 25 samples a period: less than a tenth of the power is lost."""
    x = wave(2000, 1)
    codec = SeriesCodec(
        window=64, codec=TINY.model_copy(update={"quantizer": VqSpec(codebook_size=64)}), steps=60
    )
    back = codec.inverse_transform(codec.fit(x[:1500]).transform(x[1500:]))
    assert np.square(back - x[1500:]).mean() < 0.1 * x.var()


def test_a_frame_keeps_index_columns_and_gaps(fitted: SeriesCodec) -> None:
    index = pd.date_range("2024-01-01", periods=50, freq="h", name="when")
    frame = pd.DataFrame(wave(50), index=index, columns=["a", 7])
    frame.iloc[3:9, 0] = np.nan
    frame.iloc[0, 1] = np.inf
    back = fitted.inverse_transform(fitted.transform(frame))
    assert isinstance(back, pd.DataFrame)
    pd.testing.assert_index_equal(back.index, frame.index)
    pd.testing.assert_index_equal(back.columns, frame.columns)
    assert back.isna().equals(frame.isna())
    assert back.iloc[0, 1] == np.inf
    assert np.nanmax(np.abs(back.to_numpy()[1:] - frame.to_numpy()[1:])) < 15


def test_nullable_columns_are_numbers(fitted: SeriesCodec) -> None:
    frame = pd.DataFrame({"a": pd.array([1, None, 3] * 10, dtype="Int64")})
    back = fitted.inverse_transform(fitted.transform(frame))
    assert isinstance(back, pd.DataFrame)
    assert back.isna()["a"].tolist() == [False, True, False] * 10


def test_a_gap_does_not_change_what_is_before_it(fitted: SeriesCodec) -> None:
    whole = wave(64, 1)
    gappy = whole.copy()
    gappy[40:] = np.nan
    one, other = (fitted.inverse_transform(fitted.transform(x)) for x in (whole, gappy))
    np.testing.assert_array_equal(one[:32], other[:32])
    assert np.isnan(other[40:]).all()


def test_a_second_fit_starts_anew() -> None:
    codec = tiny(seed=1)
    first = codec.fit_transform(wave()).tokens
    second = codec.fit_transform(wave()).tokens
    np.testing.assert_array_equal(first.grids[0], second.grids[0])


def test_fit_works_in_a_thread() -> None:
    codec = tiny()
    thread = threading.Thread(target=codec.fit, args=(wave(),))
    thread.start()
    thread.join()
    assert codec.transform(wave()).tokens.grids[0].size == 600 / 4 * 2 + 4


def test_the_run_of_a_series_codec_is_an_ordinary_run(tmp_path: Path) -> None:
    codec = tiny(out=tmp_path / "run").fit(wave())
    loaded = anycodec.load(tmp_path / "run", device="cpu")
    x = wave(100)
    np.testing.assert_array_equal(
        loaded.decode(loaded.encode(x)), codec.inverse_transform(codec.transform(x))
    )
    with pytest.raises(RunError, match="already holds a run"):
        tiny(out=tmp_path / "run").fit(wave())


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array(["a", "b"]), "not numeric"),
        (pd.DataFrame({"x": [1.0], "town": ["Ulm"]}), "columns that are not numeric: town"),
        (np.zeros((0, 3)), "empty"),
        (np.float64(3), "axes"),
        (np.zeros((2, 2, 2, 2)), "axes"),
        (np.array([1 + 2j]), "complex"),
    ],
)
def test_unusable_values_are_named(fitted: SeriesCodec, x: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fitted.transform(x)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        tiny().fit(x)  # type: ignore[arg-type]


def test_too_short_a_series_says_so() -> None:
    with pytest.raises(DataError):
        tiny().fit(np.zeros(1))


def test_transform_before_fit_says_what_to_do() -> None:
    with pytest.raises(UserError, match="call fit first"):
        tiny().transform(wave())


# --- pictures ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> anycodec.Codec:
    folder = tmp_path_factory.mktemp("pictures")
    samples.run("images", folder / "data", seed=0, size="small")
    codec = VqganSpec(
        base_channels=8, channel_multipliers=(1, 1, 2), attention_levels=(), mid_attention=False,
        res_blocks=1, latent_channels=16, patch_skip=True, quantizer=VqSpec(codebook_size=32),
    )  # fmt: skip
    spec = RunSpec(
        data=ImageSource(root=folder / "data", window=Window2d(size=(32, 32)), workers=0),
        codec=codec,
        train=TrainSpec(steps=3, batch_size=2, threads=1),
    )
    train(spec, RunDirectory(folder / "run"), resume=False, quiet=True)
    return anycodec.load(folder / "run", device="cpu")


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 1), (40, 50, 3), (2, 32, 32, 3), (1, 1, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pictures_come_back(pictures: anycodec.Codec, shape: tuple[int, ...], dtype: str) -> None:
    limit = np.iinfo(dtype).max
    x = (np.random.default_rng(0).random(shape) * limit).astype(dtype)
    back = pictures.decode(pictures.encode(x))
    assert (back.shape, back.dtype) == (shape, np.dtype(dtype))


def test_pictures_of_other_kinds_are_refused_with_help(pictures: anycodec.Codec) -> None:
    with pytest.raises(DataError, match="2 channels"):
        pictures.encode(np.zeros((8, 8, 2), np.uint8))
    with pytest.raises(DataError, match=r"range|uint8"):
        pictures.encode(np.zeros((8, 8, 3), np.float32))
    with pytest.raises(DataError, match=r"\[H W\]"):
        pictures.encode(np.zeros(8, np.uint8))
