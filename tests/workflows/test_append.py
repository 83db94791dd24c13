"""More signals into a file: all of them or none, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from anycodec.bitstream.container import AczReader
from anycodec.cli import app
from anycodec.workflows import compress
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.within_bound import make_bound

pod5 = pytest.importorskip("pod5")

GOLDEN = Path(__file__).parents[1] / "golden" / "acz_v1"
POD5, TABLE = (GOLDEN / kind / "run" for kind in ("pod5", "table"))
NEW = ["00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"]


def acz(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def samples_of(path: Path) -> dict[str, np.ndarray]:
    with pod5.Reader(path) as file:
        return {str(read.read_id): read.signal for read in file.reads()}


def run_of(path: Path) -> dict[str, str]:
    with pod5.Reader(path) as file:
        return {str(read.read_id): read.run_info.acquisition_id for read in file.reads()}


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A file of version 1 with two reads."""
    shutil.copy(GOLDEN / "pod5" / "pod5.pod5.acz", tmp_path)
    return tmp_path / "pod5.pod5.acz"


@pytest.fixture
def more(tmp_path: Path) -> Path:
    """Two reads of another run."""
    with pod5.Reader(GOLDEN / "pod5" / "pod5.pod5") as file:
        model = next(file.reads()).to_read()
    rng = np.random.default_rng(0)
    other = replace(model.run_info, acquisition_id="another")
    with pod5.Writer(tmp_path / "more.pod5") as writer:
        for name in NEW:
            levels = rng.integers(300, 700, 25).repeat(10).astype(np.int16)
            writer.add_read(replace(model, read_id=UUID(name), signal=levels, run_info=other))
    return tmp_path / "more.pod5"


def test_reads_join_those_that_are_there(packed: Path, more: Path) -> None:
    options = ["--run", POD5, "--device", "cpu"]
    assert acz("decompress", packed, "-o", packed.parent / "before", *options).exit_code == 0
    exact = ["--statistics", "exact"]  # as those of version 1
    assert acz("compress", POD5, more, "-o", packed.parent, "--device", "cpu", *exact).exit_code == 0
    assert (
        acz("decompress", packed.parent / "more.pod5.acz", "-o", packed.parent / "alone", *options).exit_code
        == 0
    )
    done = acz("append", packed, more, *options)
    assert done.exit_code == 0, done.output
    with AczReader(packed) as reader:
        reader.verify()
        assert reader.totals.signals == reader.header.file.n_signals == 4
        assert reader.version == 1
    assert acz("decompress", packed, "-o", packed.parent / "after", *options).exit_code == 0
    found = samples_of(packed.parent / "after" / "pod5.pod5")
    wanted = samples_of(packed.parent / "before" / "pod5.pod5") | samples_of(
        packed.parent / "alone" / "more.pod5"
    )
    assert list(found) == list(wanted)
    for name, levels in wanted.items():
        np.testing.assert_array_equal(found[name], levels)
    runs = run_of(packed.parent / "after" / "pod5.pod5")
    assert [runs[name] for name in NEW] == ["another"] * 2
    assert "another" not in [run for name, run in runs.items() if name not in NEW]


def test_reads_that_are_there_already_change_nothing(packed: Path) -> None:
    before = packed.read_bytes()
    done = acz("append", packed, GOLDEN / "pod5" / "pod5.pod5", "--run", POD5)
    assert done.exit_code == 2
    assert "is in the file already" in done.output
    assert packed.read_bytes() == before
    assert [path.name for path in packed.parent.iterdir()] == [packed.name]


def write_rows(path: Path, first: int, last: int) -> Path:
    rows = [
        f"2024-01-01 {i // 60:02d}:{i % 60:02d},{i * 0.25:.2f},{i % 7 / 4:.2f}" for i in range(first, last)
    ]
    path.write_text("\n".join(["date,a,b", *rows]) + "\n")
    return path


@pytest.mark.parametrize("lossless", [True, False])
def test_rows_go_on_where_the_table_ends(tmp_path: Path, lossless: bool) -> None:
    parts = [write_rows(tmp_path / f"{i}.csv", 70 * i, 70 * (i + 1)) for i in range(3)]
    whole = write_rows(tmp_path / "whole.csv", 0, 210)
    pipeline = Pipeline.open(TABLE, "cpu")
    assert compress.run_with(pipeline, parts[:1], None, make_bound(None, lossless=lossless)) == 0
    packed = tmp_path / "0.csv.acz"
    done = acz("append", packed, *parts[1:], "--run", TABLE, "--device", "cpu")
    assert done.exit_code == 0, done.output
    with AczReader(packed) as reader:
        reader.verify()
        ((info, _), *_) = reader.records()
        assert info.shape == (210, 2)
        assert (reader.totals.signals, reader.totals.segments, reader.totals.samples) == (1, 3, 210)
    done = acz("cat", packed, "--run", TABLE, "--device", "cpu")
    if lossless:
        assert done.stdout == whole.read_text()
    assert [line[:16] for line in done.stdout.splitlines()] == [
        line[:16] for line in whole.read_text().splitlines()
    ]
    assert len(acz("cat", packed, "--rows", "139:141", "--run", TABLE).stdout.splitlines()) == 3


def test_other_columns_change_nothing(tmp_path: Path) -> None:
    first = write_rows(tmp_path / "a.csv", 0, 70)
    assert compress.run_with(Pipeline.open(TABLE, "cpu"), [first], None) == 0
    before = (tmp_path / "a.csv.acz").read_bytes()
    other = tmp_path / "b.csv"
    other.write_text(first.read_text().replace("date,a,b", "date,a,c"))
    done = acz("append", tmp_path / "a.csv.acz", other, "--run", TABLE)
    assert done.exit_code == 2
    assert "other columns" in done.output
    assert (tmp_path / "a.csv.acz").read_bytes() == before


KILLED = """
import os, signal, sys
from anycodec.bitstream import container
from anycodec.cli import main
place, count = sys.argv[1], [0]
write = container.write_section
def dying(file, kind, payload):
    write(file, kind, payload)
    file.flush()
    count[0] += 1
    if str(count[0]) == place:
        os.kill(os.getpid(), signal.SIGKILL)
container.write_section = dying
if place == "rename":
    import pathlib
    pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.argv[1:] = sys.argv[2:]
main()
"""


def killed(place: object, *words: object) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(place), *map(str, words)]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("place", [11, "rename"])
def test_a_kill_leaves_the_old_file(packed: Path, more: Path, place: object) -> None:
    """In the middle, and before the new file takes the place of the old one."""
    before = packed.read_bytes()
    killed(place, "append", packed, more, "--run", POD5, "--device", "cpu")
    assert packed.read_bytes() == before
    assert acz("append", packed, more, "--run", POD5, "--device", "cpu").exit_code == 0


@pytest.mark.parametrize("place", [4, "rename"])
def test_a_kill_while_compressing_leaves_no_file(more: Path, place: object) -> None:
    """Nothing that is called like a file that was asked for, or that reads as one."""
    killed(place, "compress", POD5, more, "--device", "cpu")
    left = [path for path in more.parent.iterdir() if path.name != "more.pod5"]
    assert all(path.name.startswith(".") for path in left)
    assert not (more.parent / "more.pod5.acz").exists()
    for path in left:
        if place != "rename":
            assert acz("inspect", path).exit_code == 2
    assert acz("compress", POD5, more, "--device", "cpu").exit_code == 0
