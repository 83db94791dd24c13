"""Curves of rate against distortion: each point is what a codec came to."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from anycodec.cli import app
from anycodec.types import Signal, SignalInfo
from anycodec.workflows.classics import classics

GOLDEN = Path(__file__).parents[1] / "golden" / "acz_v1"


def piece(values: np.ndarray) -> Signal:
    axes = {2: "TC", 3: "HWC", 4: "THWC"}[values.ndim]
    return Signal(
        info=SignalInfo(id="", axes=axes, shape=values.shape, dtype=str(values.dtype)), values=values
    )


def test_classics_of_a_series_trade_bytes_for_error() -> None:
    values = np.random.default_rng(0).normal(size=(3000, 2)).cumsum(axis=0)
    curves: dict[str, list[tuple[int, float]]] = {}
    for coded in classics([piece(values)]):
        (restored,) = coded.restored
        assert restored.shape == values.shape
        curves.setdefault(coded.name, []).append(
            (coded.size, float(np.sqrt(np.square(values - restored).mean())))
        )
    assert set(curves) == {"steps + zstd", "DCT-32 + range coder", "k-means VQ of 4"}
    curves["k-means VQ of 4"].reverse()  # from few codes to many
    for curve in curves.values():
        assert [size for size, _ in curve] == sorted((size for size, _ in curve), reverse=True)
        assert [error for _, error in curve] == sorted(error for _, error in curve)
    step = 0.0625 * values.std()
    assert curves["steps + zstd"][0][1] == pytest.approx(step / np.sqrt(12), rel=0.1)


def test_pictures_are_those_of_pillow() -> None:
    rows, columns = np.mgrid[:40, :48]
    picture = np.stack([rows * 5, columns * 4, rows + columns], axis=-1).astype(np.uint8)
    found = [coded for coded in classics([piece(picture)]) if coded.name == "JPEG"]
    assert [coded.setting for coded in found] == [f"quality {quality}" for quality in (5, 15, 40, 70, 90)]
    assert np.abs(found[-1].restored[0].astype(int) - picture).mean() < 4


def test_as_many_codes_as_patches_lose_nothing() -> None:
    values = np.tile(np.arange(8.0) * 5 + 1000, 40)[:, None]
    found = {coded.setting: coded for coded in classics([piece(values)]) if coded.name == "k-means VQ of 4"}
    np.testing.assert_allclose(found["4 codes"].restored[0], values, atol=1e-3)
    assert found["4 codes"].size < 40


@pytest.mark.parametrize("channels", [1, 3])
def test_video_is_that_of_x264(channels: int) -> None:
    pytest.importorskip("av")
    time, rows, columns = np.mgrid[:6, :33, :48]
    clip = np.repeat((rows * 3 + columns * 2 + time)[..., None], channels, axis=-1).astype(np.uint8)
    found = [coded for coded in classics([piece(clip)]) if coded.name == "x264"]
    assert [coded.setting for coded in found] == [f"crf {factor}" for factor in (18, 24, 30, 36, 42)]
    errors = [np.abs(coded.restored[0].astype(int) - clip).mean() for coded in found]
    assert found[0].restored[0].shape == clip.shape
    assert errors[0] < 2 < errors[-1]
    assert found[0].size > found[-1].size > 0


def test_table_and_picture_of_curves(tmp_path: Path) -> None:
    words = [
        "rd",
        GOLDEN / "table" / "run",
        GOLDEN / "table" / "table.csv",
        "-o",
        tmp_path / "rd",
        "--device",
        "cpu",
    ]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "rd" / "rd.json").read_text())
    with (tmp_path / "rd" / "rd.csv").open() as file:
        assert [row["setting"] for row in csv.DictReader(file)] == [row["setting"] for row in rows]
    names = {row["codec"] for row in rows}
    ours = {"anycodec, tokens", "anycodec, bound"}
    assert names == ours | {"steps + zstd", "DCT-32 + range coder", "k-means VQ of 4"}
    assert {row["unit"] for row in rows} == {"value"}
    bound = [row["bits"] for row in rows if row["codec"] == "anycodec, bound"]
    assert bound == sorted(bound, reverse=True)
    assert "1 of 1 levels" in done.output
    with Image.open(tmp_path / "rd" / "rd.png") as picture:
        assert picture.width > 300
