"""Several native files in one `.acz`: each returns under its own name, or none is written."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from anycodec.bitstream.container import AczReader
from anycodec.bitstream.frame import Kind
from anycodec.cli import app
from anycodec.errors import DataError
from anycodec.io.formats import get_format
from anycodec.types import FileInfo

GOLDEN = Path(__file__).parents[1] / "golden" / "acz_v1"
IMAGE, POD5, TABLE = (GOLDEN / kind / "run" for kind in ("image", "pod5", "table"))


def acz(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def succeed(*words: object) -> str:
    done = acz(*words)
    assert done.exit_code == 0, done.output
    return done.output


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four in two folders, of different sizes and kinds, two of one name."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number, name in enumerate(["cats/1.png", "cats/2.jpg", "dogs/1.png", "top.png"]):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        noise = rng.integers(0, 256, (3, 4, 3)).repeat(8, axis=0).repeat(8 + number, axis=1)
        Image.fromarray(noise.astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def joined(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("joined") / "new folder" / "all.acz"
    succeed("compress", IMAGE, pictures, "-o", path, "--device", "cpu")
    return path


@pytest.fixture(scope="module")
def apart(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, restored from a file each."""
    folder = tmp_path_factory.mktemp("apart")
    succeed("compress", IMAGE, pictures, "-o", folder / "acz", "--device", "cpu")
    succeed("decompress", folder / "acz", "-o", folder / "back", "--run", IMAGE, "--device", "cpu")
    return folder


def test_pictures_return_under_their_names(joined: Path, apart: Path, tmp_path: Path) -> None:
    succeed("decompress", joined, "-o", tmp_path, "--run", IMAGE, "--device", "cpu")
    names = ["cats/1.png", "cats/2.png", "dogs/1.png", "top.png"]
    found = {path.relative_to(tmp_path / "all").as_posix() for path in tmp_path.rglob("*.png")}
    assert found == set(names)
    for name in names:
        np.testing.assert_array_equal(pixels(tmp_path / "all" / name), pixels(apart / "back" / name))


def test_they_share_the_header(joined: Path, apart: Path) -> None:
    alone = [path.stat().st_size for path in (apart / "acz").rglob("*.acz")]
    assert joined.stat().st_size < sum(alone) - 3 * 60
    with AczReader(joined) as reader:
        reader.verify()
        assert (reader.totals.signals, reader.header.file.n_signals) == (4, 4)
        assert reader.header.source_name == "all.png"
    shown = " ".join(succeed("inspect", joined).split())
    assert "names cats/1.png, cats/2.jpg, dogs/1.png, top.png" in shown


def test_one_of_them_can_be_asked_for(joined: Path, apart: Path, tmp_path: Path) -> None:
    options = ["--reads", "dogs/1.png", "--run", IMAGE, "--device", "cpu"]
    succeed("decompress", joined, "-o", tmp_path, *options)
    (found,) = tmp_path.rglob("*.png")
    assert found.relative_to(tmp_path).as_posix() == "all.part/dogs/1.png"
    done = acz("cat", joined, *options)
    np.testing.assert_array_equal(
        np.load(io.BytesIO(done.stdout_bytes)), pixels(apart / "back" / "dogs" / "1.png")
    )
    np.testing.assert_array_equal(pixels(found), pixels(apart / "back" / "dogs" / "1.png"))


def test_a_damaged_picture_leaves_the_others(joined: Path, tmp_path: Path) -> None:
    with AczReader(joined) as reader:
        offset = next(s.offset for s, info, _ in reader.sections() if s.type == Kind.SEGMENT and info
                      and info.id == "cats/2.jpg")  # fmt: skip
    content = bytearray(joined.read_bytes())
    content[offset + 12] ^= 1
    (tmp_path / "bad.acz").write_bytes(content)
    options = ["-o", tmp_path, "--run", IMAGE, "--device", "cpu"]
    assert acz("decompress", tmp_path / "bad.acz", *options).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bad.acz"]
    done = acz("decompress", tmp_path / "bad.acz", "--keep-going", *options)
    assert done.exit_code == 2
    assert "signal cats/2.jpg" in " ".join(done.output.split())
    found = {path.relative_to(tmp_path / "all.part").as_posix() for path in tmp_path.rglob("*.png")}
    assert found == {"cats/1.png", "dogs/1.png", "top.png"}


def test_lossless_pictures_join_as_well(pictures: Path, tmp_path: Path) -> None:
    succeed("compress", IMAGE, pictures, "-o", tmp_path / "all.acz", "--lossless", "--device", "cpu")
    succeed("decompress", tmp_path / "all.acz", "-o", tmp_path, "--run", IMAGE, "--device", "cpu")
    for name in ("cats/1.png", "dogs/1.png", "top.png"):
        np.testing.assert_array_equal(pixels(tmp_path / "all" / name), pixels(pictures / name))


def test_what_cannot_be_read_is_named_and_left_out(pictures: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    done = acz("compress", IMAGE, bad, pictures / "top.png", pictures / "cats", "-o", tmp_path / "all.acz")
    assert done.exit_code == 2
    assert "bad.png" in done.output
    with AczReader(tmp_path / "all.acz") as reader:
        assert [info.id for info, _ in reader.records()] == ["top.png", "1.png", "2.jpg"]


def test_what_turns_out_to_be_damaged_writes_nothing(pictures: Path, tmp_path: Path) -> None:
    """Its header can be read, its pixels can't."""
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((pictures / "cats" / "2.jpg").read_bytes()[:-20])
    done = acz("compress", IMAGE, pictures / "top.png", cut, "-o", tmp_path / "all.acz")
    assert done.exit_code == 2
    assert "cut.jpg" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["cut.jpg"]


def test_two_of_one_name_write_nothing(pictures: Path, tmp_path: Path) -> None:
    ones = pictures / "cats" / "1.png", pictures / "dogs" / "1.png"
    done = acz("compress", IMAGE, *ones, "-o", tmp_path / "all.acz")
    assert done.exit_code == 2
    assert "1.png is in the file already; nothing was written" in done.output
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(joined: Path, pictures: Path) -> None:
    before = joined.read_bytes()
    done = acz("compress", IMAGE, pictures, "-o", joined)
    assert done.exit_code == 2
    assert "exists already" in done.output
    assert joined.read_bytes() == before


def test_goals_are_of_single_files(pictures: Path, tmp_path: Path) -> None:
    done = acz("compress", IMAGE, pictures, "-o", tmp_path / "all.acz", "--ratio", "9")
    assert done.exit_code == 2
    assert "give a folder with -o" in " ".join(done.output.split())


def test_one_file_keeps_its_name(pictures: Path, tmp_path: Path) -> None:
    succeed("compress", IMAGE, pictures / "cats" / "2.jpg", "-o", tmp_path / "x.acz", "--device", "cpu")
    succeed("decompress", tmp_path / "x.acz", "-o", tmp_path, "--run", IMAGE, "--device", "cpu")
    assert {path.name for path in tmp_path.iterdir()} == {"x.acz", "2.png"}


# --- append -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_pictures_join_one_that_is_there(pictures: Path, tmp_path: Path, version: int) -> None:
    """Of either version of the format, which it keeps."""
    source = GOLDEN / "image" / "image.png"
    packed = tmp_path / "image.png.acz"
    if version == 1:
        packed.write_bytes((GOLDEN / "image" / packed.name).read_bytes())
    else:
        succeed("compress", IMAGE, source, "-o", tmp_path, "--device", "cpu")
    options = ["--run", IMAGE, "--device", "cpu"]
    succeed("decompress", packed, "-o", tmp_path / "before", *options)
    succeed("append", packed, pictures / "cats", *options)
    succeed("append", packed, pictures / "top.png", *options)
    with AczReader(packed) as reader:
        reader.verify()
        assert reader.version == version
        assert [info.id for info, _ in reader.records()] == ["image.png", "1.png", "2.jpg", "top.png"]
    succeed("decompress", packed, "-o", tmp_path, *options)
    assert {path.name for path in (tmp_path / "image").iterdir()} == {
        "image.png",
        "1.png",
        "2.png",
        "top.png",
    }
    np.testing.assert_array_equal(
        pixels(tmp_path / "image" / "image.png"), pixels(tmp_path / "before" / "image.png")
    )
    done = acz("append", packed, pictures / "top.png", *options)
    assert done.exit_code == 2
    assert "top.png is in the file already" in done.output


def test_videos_say_what_to_do_instead() -> None:
    one, other = (FileInfo(path=name, format="video", n_signals=1) for name in ("a.mp4", "b.mp4"))
    with pytest.raises(DataError, match="each has a clock and a size of its own") as caught:
        get_format("video").join(one, other)
    assert (caught.value.where, "in a folder" in str(caught.value.how)) == ("b.mp4", True)


# --- other formats ------------------------------------------------------------------------------


def test_tables_go_on_in_each_other(tmp_path: Path) -> None:
    rows = [f"2024-01-01 {i // 60:02d}:{i % 60:02d},{i * 0.25:.2f},{i % 7 / 4:.2f}" for i in range(150)]
    for name, part in (("a", rows[:90]), ("b", rows[90:]), ("whole", rows)):
        (tmp_path / f"{name}.csv").write_text("\n".join(["date,a,b", *part]) + "\n")
    parts = tmp_path / "a.csv", tmp_path / "b.csv"
    succeed("compress", TABLE, *parts, "-o", tmp_path / "all.acz", "--lossless", "--device", "cpu")
    succeed("decompress", tmp_path / "all.acz", "-o", tmp_path, "--run", TABLE, "--device", "cpu")
    assert (tmp_path / "all.csv").read_text() == (tmp_path / "whole.csv").read_text()
    other = tmp_path / "c.csv"
    other.write_text((tmp_path / "a.csv").read_text().replace("date,a,b", "date,a,c"))
    done = acz("compress", TABLE, parts[0], other, "-o", tmp_path / "bad.acz")
    assert done.exit_code == 2
    assert "other columns" in done.output
    assert not (tmp_path / "bad.acz").exists()


def test_reads_join(tmp_path: Path) -> None:
    pod5 = pytest.importorskip("pod5")
    with pod5.Reader(GOLDEN / "pod5" / "pod5.pod5") as file:
        reads = [read.to_read() for read in file.reads()]
    for read, name in zip(reads, "ab", strict=True):
        with pod5.Writer(tmp_path / f"{name}.pod5") as writer:
            writer.add_read(read)
    parts = tmp_path / "a.pod5", tmp_path / "b.pod5"
    succeed("compress", POD5, *parts, "-o", tmp_path / "all.acz", "--lossless", "--device", "cpu")
    succeed("decompress", tmp_path / "all.acz", "-o", tmp_path, "--run", POD5, "--device", "cpu")
    with pod5.Reader(tmp_path / "all.pod5") as file:
        found = {read.read_id: read.signal for read in file.reads()}
    assert list(found) == [read.read_id for read in reads]
    for read in reads:
        np.testing.assert_array_equal(found[read.read_id], read.signal)
