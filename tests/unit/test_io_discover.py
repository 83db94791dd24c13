from __future__ import annotations

from pathlib import Path

import pytest

from anycodec.config.data import ImageSource, Pod5Source
from anycodec.errors import DataError
from anycodec.io.discover import base_folder, discover, label_of

IMAGES = ImageSource()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = [
        "ID_10/a.png",
        "ID_2/b10.PNG",
        "ID_2/b9.jpg",
        "c.png",
        "ID_2/notes.txt",
        ".cache/d.png",
        "ID_2/.e.png",
    ]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "empty.png").touch()
    return tmp_path


def names(found: tuple[Path, ...], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found]


def test_a_folder_is_searched_in_natural_order(folder: Path) -> None:
    found = discover(folder, IMAGES)
    assert names(found.files, folder) == ["ID_2/b9.jpg", "ID_2/b10.PNG", "ID_10/a.png", "c.png"]


def test_what_is_left_out_is_listed_with_its_reason(folder: Path) -> None:
    reasons = {Path(item.path).name: item.reason for item in discover(folder, IMAGES).skipped}
    assert set(reasons) == {"notes.txt", "d.png", ".e.png", "empty.png"}
    assert reasons["d.png"] == reasons[".e.png"] == "hidden or temporary"
    assert reasons["empty.png"] == "empty (0 bytes)"
    assert ".png" in reasons["notes.txt"]


def test_excluded_files_are_listed(folder: Path) -> None:
    found = discover(folder, ImageSource(exclude=("ID_2/*", "c.*")))
    assert names(found.files, folder) == ["ID_10/a.png"]
    assert sum("data.exclude" in item.reason for item in found.skipped) == 4


def test_a_glob_pattern_and_a_file(folder: Path) -> None:
    assert names(discover(folder / "ID_*" / "*.png", IMAGES).files, folder) == ["ID_10/a.png"]
    assert names(discover(folder / "**" / "b*", IMAGES).files, folder) == ["ID_2/b9.jpg", "ID_2/b10.PNG"]
    assert names(discover(folder / "c.png", IMAGES).files, folder) == ["c.png"]


def test_a_folder_whose_own_path_is_hidden_is_searched(tmp_path: Path) -> None:
    root = tmp_path / ".hidden"
    root.mkdir()
    (root / "a.png").write_bytes(b"x")
    assert len(discover(root, IMAGES).files) == 1


def test_nothing_found_says_what_is_there(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no \.pod5 file found; there is: .*2 x \.png") as caught:
        discover(folder, Pod5Source())
    assert caught.value.where == str(folder)


def test_an_empty_folder_and_a_missing_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is: nothing"):
        discover(tmp_path, IMAGES)
    with pytest.raises(DataError, match="does not exist"):
        discover(tmp_path / "absent", IMAGES)


def test_labels_are_folder_names(folder: Path) -> None:
    assert label_of(folder / "ID_2" / "x.png", folder) == "ID_2"
    assert label_of(folder / "x.png", folder) is None
    assert label_of(folder / "ID_2" / "x.png", folder / "ID_*" / "*.png") == "ID_2"
    assert label_of(folder / "ID_2" / "x.png", None) is None
    assert label_of(Path("/elsewhere/ID_2/x.png"), folder) is None


def test_the_base_of_a_pattern_has_no_wildcards(folder: Path) -> None:
    assert base_folder(folder / "ID_*" / "deep*" / "*.png") == folder
    assert base_folder(folder / "c.png") == folder
