"""Meters that read in steps of their own: few of the numbers in their range occur, only those are coded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from typer.testing import CliRunner

from anycodec.cli import app

RUN = Path(__file__).parents[1] / "golden" / "acz_v1" / "table" / "run"


def lossless(values: np.ndarray, folder: Path) -> int:
    """Bytes of a file of these values, which come back exactly."""
    folder.mkdir()
    source = folder / "a.csv"
    pd.DataFrame(values, columns=["a", "b"]).to_csv(source, index=False)
    for words in (
        ["compress", RUN, source, "-o", folder / "packed", "--lossless", "--device", "cpu"],
        [
            "decompress",
            folder / "packed" / "a.csv.acz",
            "-o",
            folder / "back",
            "--run",
            RUN,
            "--device",
            "cpu",
        ],
    ):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
    assert np.array_equal(pd.read_csv(folder / "back" / "a.csv").to_numpy(), values, equal_nan=True)
    return (folder / "packed" / "a.csv.acz").stat().st_size


def test_steps_of_a_meter_cost_no_more_than_their_number(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    steps = rng.integers(-3, 4, (5000, 2)).cumsum(axis=0) % 200
    values = np.round(steps * [0.0675, 0.0352], 3)  # steps of 67 and 68, or 35 and 36 thousandths
    values[100:110, 0] = np.nan
    plain = lossless(steps.astype(np.float64), tmp_path / "steps")
    assert lossless(values, tmp_path / "values") < 1.1 * plain + 800
