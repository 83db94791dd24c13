"""Data sets that are copied to a local disk before they are trained on."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from anycodec.config.data import ArraySource
from anycodec.config.run import RunSpec
from anycodec.data.loader import find_signals, open_data
from anycodec.errors import DataError, Notice
from anycodec.workflows import staging
from anycodec.workflows.staging import open_staged, stage


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("a/1.npy", "b/2.npy", "b/3.npy"):
        path = tmp_path / "far" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.random.default_rng(len(name)).normal(size=(300, 1)).astype(np.float32))
    return tmp_path / "far"


def source(data: Path, pattern: str = ".", **settings: object) -> ArraySource:
    return ArraySource(root=data / pattern, stage_to=data.parent / "fast", **settings)


def copies(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_sees_the_same_data_from_the_copy(data: Path) -> None:
    spec = RunSpec(
        data=source(data, window={"samples": 16}), codec={"type": "simvqgan", "channels": [8], "strides": [4]}
    )
    far, near = open_data(spec), open_staged(spec)
    assert near.fingerprint == far.fingerprint
    assert near.train.pieces[0].path.startswith(str(data.parent / "fast"))
    for index in range(len(far.train)):
        np.testing.assert_array_equal(near.train.item(1, index), far.train.item(1, index))


def test_files_are_copied_once_and_when_they_change(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied: list[str] = []
    usual = staging._copy
    monkeypatch.setattr(staging, "_copy", lambda a, b: (copied.append(a.name), usual(a, b)))
    root = stage(source(data)).root
    assert root is not None
    assert copies(root) == copies(data)
    assert "3 of 3 files copied" in capsys.readouterr().out.replace("\n", "")
    assert stage(source(data)).root == root
    assert sorted(copied) == ["1.npy", "2.npy", "3.npy"]
    np.save(data / "a" / "1.npy", np.zeros((400, 1), np.float32))
    os.utime(data / "b" / "2.npy", ns=(0, 0))
    (data / "b" / "3.npy").unlink()
    stage(source(data))
    assert sorted(copied[3:]) == ["1.npy", "2.npy"]
    assert copies(root) == copies(data)


@pytest.mark.parametrize("pattern", ["b", "b/2.npy", "*/2.npy", "**/*.npy"])
def test_a_file_and_a_pattern_are_staged_as_they_were_asked_for(data: Path, pattern: str) -> None:
    asked = source(data, pattern)
    found = stage(asked)
    assert found.root is not None
    names = [[Path(entry.path).name for entry in find_signals(s).entries] for s in (asked, found)]
    assert names[0] == names[1] != []
    assert stage(source(data, "a")).root != found.root, "another choice of files has a folder of its own"


def test_what_is_too_large_stays_where_it_is(data: Path) -> None:
    asked = source(data, stage_limit_gb=1e-6)
    with pytest.warns(Notice, match=r"not staged: 0.00 GB are more than data.stage_limit_gb 1e-06; .*far"):
        assert stage(asked) == asked
    assert not list((data.parent / "fast").iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        assert stage(source(data, stage_limit_gb=1)).root != data


def test_a_full_disk_is_seen_before(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.warns(Notice, match="don't fit into the 0.00 GB free in"):
        assert stage(source(data)).root == data


def test_a_copy_that_differs_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = staging.hashlib.file_digest

    def other(file: object, name: str) -> object:
        file.seek(1)
        return usual(file, name)

    monkeypatch.setattr(staging.hashlib, "file_digest", other)
    with pytest.raises(DataError, match=r"the copy differs[\s\S]*1.npy"):
        stage(source(data))
    assert copies(data.parent / "fast") == {}


def test_without_a_place_nothing_happens(data: Path) -> None:
    plain = ArraySource(root=data)
    assert stage(plain) is plain
