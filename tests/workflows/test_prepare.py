"""What the first stage of `anycodec augment` refuses, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anycodec.config.kinds import AUGMENTATION
from anycodec.config.loader import load_kind
from anycodec.errors import DataError
from anycodec.workflows.prepare import prepare

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG = CONFIGS / "gait-small.yaml"


def write_class(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(np.full((64, 64), number, np.uint8)).save(folder / f"{number:02}.png")


@pytest.mark.parametrize(("count", "learned", "tried"), [(1, 1, 0), (7, 7, 0)])
def test_a_class_that_could_not_be_judged(tmp_path: Path, count: int, learned: int, tried: int) -> None:
    """Blocks of .6, .1, .3 with guards of four files: the guards leave little of few."""
    write_class(tmp_path / "real" / "ID_1", 40)
    write_class(tmp_path / "real" / "ID_2", count)
    settings = [f"data.root={tmp_path / 'real'}", "data.workers=0"]
    spec = load_kind(AUGMENTATION, CONFIG, settings)
    with pytest.raises(DataError) as error:
        prepare(spec, tmp_path / "split")
    assert f"class ID_2 has {learned} samples to learn from and {tried} to test with" in error.value.what
    assert not (tmp_path / "split" / "split.json").exists()
    mended = "data.exclude=[ID_2/*]"
    assert mended in str(error.value.how).replace("'", "")
    prepare(load_kind(AUGMENTATION, CONFIG, [*settings, mended]), tmp_path / "mended")
    assert "ID_2" not in (tmp_path / "mended" / "split.json").read_text()


def test_a_long_series_is_many_samples(tmp_path: Path) -> None:
    """Windows of 96: blocks of .6 and .3 of 4,000 rows hold many; of 300 rows a guard of 96 leaves 84."""
    for name, rows in (("long", 4000), ("short", 300)):
        (tmp_path / "real" / name).mkdir(parents=True)
        np.savetxt(tmp_path / "real" / name / "one.csv", np.arange(rows), header="v", comments="")
    config, settings = CONFIGS / "series-generate.yaml", [f"data.root={tmp_path / 'real'}", "data.workers=0"]
    with pytest.raises(DataError, match="class short has 0 samples to learn from and 0 to test with"):
        prepare(load_kind(AUGMENTATION, config, settings), tmp_path / "split")
    (tmp_path / "mended").mkdir()
    prepare(load_kind(AUGMENTATION, config, [*settings, "data.exclude=[short/*]"]), tmp_path / "mended")
    assert (tmp_path / "mended" / "split.json").is_file()
