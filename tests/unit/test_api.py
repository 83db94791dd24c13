"""The estimator for time series."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import anycodec
from anycodec.errors import DataError, UserError


@pytest.fixture(scope="module")
def fitted() -> anycodec.SeriesCodec:
    time = np.arange(3000)
    frame = pd.DataFrame({"a": np.sin(time / 7), "b": 5 + 3 * np.cos(time / 11)})
    return anycodec.SeriesCodec(window=32, steps=60, batch_size=16).fit(frame)


def test_a_frame_keeps_index_columns_and_gaps(fitted: anycodec.SeriesCodec) -> None:
    index = pd.date_range("2026-01-01", periods=500, freq="h")
    frame = pd.DataFrame({"x": np.sin(np.arange(500) / 9), "y": np.cos(np.arange(500) / 5)}, index=index)
    frame.iloc[10:20, 1] = np.nan
    restored = fitted.inverse_transform(fitted.transform(frame))
    assert isinstance(restored, pd.DataFrame)
    assert restored.index.equals(index)
    assert list(restored.columns) == ["x", "y"]
    assert restored.isna().equals(frame.isna())
    assert np.nanmean((restored - frame) ** 2) < 0.1 * np.nanvar(frame)


@pytest.mark.parametrize("shape", [(200,), (200, 3)])
def test_arrays(fitted: anycodec.SeriesCodec, shape: tuple[int, ...]) -> None:
    values = np.sin(np.arange(np.prod(shape)) / 20).reshape(shape)
    encoded = fitted.transform(values)
    assert encoded.tokens.grids[0].shape == (7 * (shape[1] if len(shape) > 1 else 1), 8)
    assert fitted.inverse_transform(encoded).shape == (200, shape[1] if len(shape) > 1 else 1)


def test_several_series_can_be_fitted() -> None:
    x = np.sin(np.arange(2 * 3 * 400) / 9).reshape(2, 3, 400)
    codec = anycodec.SeriesCodec(window=32, steps=5, batch_size=4).fit(x)
    assert codec.inverse_transform(codec.transform(x[0].T)).shape == (400, 3)


def test_use_before_fit_is_explained() -> None:
    with pytest.raises(UserError, match="fit"):
        anycodec.SeriesCodec().transform(np.zeros(10))


def test_text_is_refused(fitted: anycodec.SeriesCodec) -> None:
    with pytest.raises(DataError, match="numeric"):
        fitted.transform(np.array(["a", "b"]))
