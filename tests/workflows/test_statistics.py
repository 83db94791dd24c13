"""Statistics of windows that take fewer bytes: what it saves, and what it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from anycodec.bitstream.container import AczReader
from anycodec.cli import app

RUN = Path(__file__).parents[1] / "golden" / "acz_v1" / "table" / "run"
WINDOW = 32


def acz(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Walks whose level and scale change."""
    rng = np.random.default_rng(0)
    scale = np.exp(rng.normal(size=(4000, 2)).cumsum(axis=0) / 50)
    values = (scale * rng.normal(size=(4000, 2))).cumsum(axis=0)
    path = tmp_path_factory.mktemp("series") / "a.csv"
    pd.DataFrame(values.round(3), columns=["a", "b"]).to_csv(path, index=False)
    return path


def packed(table: Path, out: Path, *options: object) -> tuple[Path, np.ndarray]:
    assert acz("compress", RUN, table, "-o", out, "--device", "cpu", *options).exit_code == 0
    path = out / "a.csv.acz"
    assert acz("decompress", path, "-o", out / "back", "--run", RUN, "--device", "cpu").exit_code == 0
    return path, pd.read_csv(out / "back" / "a.csv").to_numpy()


def test_coarse_statistics_save_most_of_their_bytes_and_cost_nothing(table: Path, tmp_path: Path) -> None:
    values = pd.read_csv(table).to_numpy()
    sizes, errors = {}, {}
    for name in ("exact", "coarse"):
        path, found = packed(table, tmp_path / name, "--statistics", name)
        with AczReader(path) as reader:
            assert reader.header.requires == {"exact": [], "coarse": ["statistics"]}[name]
            sizes[name] = reader.totals.statistics
        errors[name] = float(np.sqrt(np.square(values - found).mean()))
    assert sizes["coarse"] < 0.45 * sizes["exact"]
    assert abs(errors["coarse"] / errors["exact"] - 1) < 0.03


def test_bounds_hold_with_coarse_statistics(table: Path, tmp_path: Path) -> None:
    _, found = packed(table, tmp_path, "--statistics", "coarse", "--max-error", "0.5")
    assert np.abs(pd.read_csv(table).to_numpy() - found).max() <= 0.5


def test_they_are_coarse_unless_asked_otherwise(table: Path, tmp_path: Path) -> None:
    path, _ = packed(table, tmp_path / "a")
    other, _ = packed(table, tmp_path / "b", "--statistics", "coarse")
    assert path.read_bytes() == other.read_bytes()
    with AczReader(path) as reader:
        assert reader.header.requires == ["statistics"]
