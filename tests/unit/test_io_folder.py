"""Names of pictures come from files that anybody may have written."""

from __future__ import annotations

from pathlib import Path

import pytest

from anycodec.errors import FormatError
from anycodec.io.folder import write_folder


def test_names_with_folders_are_kept_and_suffixes_become_png(tmp_path: Path) -> None:
    names = ["a.png", "b.jpg", "cats/a.png", "no suffix", "b.png", "é.tif"]
    write_folder(tmp_path / "out", ((name, name.encode()) for name in names))
    found = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes().decode()
        for path in (tmp_path / "out").rglob("*.png")
    }
    assert found == {
        "a.png": "a.png",
        "b.png": "b.jpg",
        "cats/a.png": "cats/a.png",
        "no suffix.png": "no suffix",
        "b.png.png": "b.png",
        "é.png": "é.tif",
    }


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../a.png", "/etc/a.png", "a/../../b.png", "a//b.png", "a/", "C:\\a.png", "C:a"),
        *("a\0.png", "a\n.png", "a\\b.png", "x" * 300, "x" * 300 + "/a.png"),
    ],
)
def test_names_that_are_none_leave_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatError, match="nothing was restored"):
        write_folder(tmp_path / "in" / "out", [("good.png", b""), (name, b"")])
    assert [path.name for path in tmp_path.rglob("*")] == ["in"]


def test_a_name_that_comes_too_often_or_below_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="comes twice"):
        write_folder(tmp_path / "out", [("a.png", b"")] * 3)
    with pytest.raises(FormatError, match="is below another one"):
        write_folder(tmp_path / "out", [("a.png", b""), ("a.png/b.png", b"")])
    assert list(tmp_path.iterdir()) == []
