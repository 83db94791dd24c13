"""A codec of channels that are turned to their principal axes: files come back, samples are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from anycodec.cli import app
from anycodec.errors import UserError
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.train import run as train

CONFIG = """
data:
  {{type: table, root: {root}, workers: 0, window: {{samples: 64}}, normalizer: {{type: {normalizer}}}}}
codec: {{type: trellis, channels: 8, blocks: 0, quantizer: {{step: 0.01, states: 4}}}}
train: {{steps: 2, val_every: 2, batch_size: 2}}
"""


def acz(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three columns that follow one walk, in units of their own, with a gap."""
    random = np.random.default_rng(3)
    walk = random.normal(size=(3000, 1)).cumsum(axis=0) + 0.05 * random.normal(size=(3000, 3))
    values = walk * [1, 30, 200] + [0, 500, -1000]
    values[1500:1510, 1] = np.nan
    path = tmp_path_factory.mktemp("series") / "a.csv"
    pd.DataFrame(values.round(4), columns=["a", "b", "c"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def runs(table: Path) -> dict[str, Path]:
    found = {}
    for normalizer in ("standard", "principal"):
        config, run = table.parent / f"{normalizer}.yaml", table.parent / normalizer
        config.write_text(CONFIG.format(root=table, normalizer=normalizer))
        train(config, [], run, resume=False, quiet=True)
        found[normalizer] = run
    return found


def restored(run: Path, table: Path, out: Path, *options: object) -> tuple[int, np.ndarray]:
    done = acz("compress", run, table, "-o", out, "--device", "cpu", *options)
    assert done.exit_code == 0, done.output
    done = acz("decompress", out / "a.csv.acz", "-o", out / "back", "--run", run, "--device", "cpu")
    assert done.exit_code == 0, done.output
    return (out / "a.csv.acz").stat().st_size, pd.read_csv(out / "back" / "a.csv").to_numpy()


def test_columns_that_move_together_take_fewer_bytes(
    runs: dict[str, Path], table: Path, tmp_path: Path
) -> None:
    values = pd.read_csv(table).to_numpy()
    deviation = np.nanstd(values, axis=0)
    sizes, errors = {}, {}
    for name, run in runs.items():
        sizes[name], found = restored(run, table, tmp_path / name)
        assert np.array_equal(np.isnan(found), np.isnan(values))
        errors[name] = float(np.sqrt(np.nanmean(np.square((found - values) / deviation))))
    assert sizes["principal"] < 0.7 * sizes["standard"]
    assert errors["principal"] < 1.1 * errors["standard"] < 0.01


def test_bounds_hold(runs: dict[str, Path], table: Path, tmp_path: Path) -> None:
    _, found = restored(runs["principal"], table, tmp_path, "--max-error", "0.5")
    assert np.nanmax(np.abs(found - pd.read_csv(table).to_numpy())) <= 0.5


def test_samples_of_single_channels_are_refused(runs: dict[str, Path]) -> None:
    Pipeline.open(runs["standard"], "cpu").require_own_channels()
    with pytest.raises(UserError, match="mixtures of all channels"):
        Pipeline.open(runs["principal"], "cpu").require_own_channels()
