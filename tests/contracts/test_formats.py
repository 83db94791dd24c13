"""What every file format promises. Registered formats enrol by themselves."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_files import MAKERS, Sample

from anycodec.config.data import SourceSpec
from anycodec.errors import DataError, ResourceError
from anycodec.io.base import Reader
from anycodec.io.formats import (
    default_source,
    format_for,
    format_names,
    get_format,
    open_file,
    probe,
    read,
    write,
)
from anycodec.types import FileInfo, Signal

FORMATS = format_names()
RANDOM = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
READABLE_IN_PART = (".csv", ".tsv", ".avi", ".webm", ".mkv", ".png", ".webp", ".tif", ".jpg")
"""A part of such a file can be a whole one, or lack nothing but its end mark."""
SEEDS = st.integers(0, 2**32 - 1)


def make(name: str, folder: str | Path, seed: int) -> Sample:
    assert name in MAKERS, f"write a maker of {name} files in native_files.py"
    return MAKERS[name](Path(folder), np.random.default_rng(seed))


def through_json(segment: Signal) -> Signal:
    meta = json.loads(json.dumps(segment.info.meta, allow_nan=False))
    return replace(segment, info=replace(segment.info, meta=meta))


def rewrite(path: Path, source: SourceSpec, block: int, folder: Path) -> tuple[Path, FileInfo]:
    """Read a file and write it back from what survives a journey through JSON."""
    with open_file(path, source) as reader:
        info = replace(reader.info, meta=json.loads(json.dumps(reader.info.meta, allow_nan=False)))
        target = folder / get_format(info.format).restored_name(f"restored_{path.name}", info)
        write(target, info, map(through_json, reader.segments(block)))
    return target, info


def assert_same(ours: Signal, theirs: Signal) -> None:
    """Equal values where there are values, equal gaps, equal attachments."""
    assert (ours.start, ours.values.dtype, ours.values.shape) == (
        theirs.start,
        theirs.values.dtype,
        theirs.values.shape,
    )
    mask = np.ones(ours.values.shape, bool) if ours.mask is None else ours.mask
    other = np.ones(ours.values.shape, bool) if theirs.mask is None else theirs.mask
    np.testing.assert_array_equal(mask, other)
    np.testing.assert_array_equal(ours.values[mask], theirs.values[mask])
    assert dict(ours.attachments) == dict(theirs.attachments)


def refusal(path: Path, source: SourceSpec) -> str:
    """The message of the DataError, "" if the file can be read; nothing else may be raised."""
    try:
        read_all(path, source)
    except DataError as error:
        return error.render()
    return ""


def read_all(path: Path, source: SourceSpec) -> int:
    return sum(segment.length for segment in read(path, source, 1000))


@pytest.mark.parametrize("name", FORMATS)
@RANDOM
@given(seed=SEEDS, block=st.integers(1, 5000))
def test_read_write_read_is_the_identity(name: str, seed: int, block: int) -> None:
    with TemporaryDirectory() as folder:
        path, source = make(name, folder, seed)
        block = max(block, 4) if name == "pod5" else block
        target, _ = rewrite(path, source, block, Path(folder))
        with open_file(path, source) as before, open_file(target, source) as after:
            assert before.info.n_signals == after.info.n_signals
            for ours, theirs in zip(before.signals(), after.signals(), strict=True):
                assert (ours.id, ours.axes, ours.shape, ours.dtype, ours.unit, ours.channels) == (
                    theirs.id,
                    theirs.axes,
                    theirs.shape,
                    theirs.dtype,
                    theirs.unit,
                    theirs.channels,
                )
                assert (ours.rate, ours.value_range, ours.meta) == (
                    theirs.rate,
                    theirs.value_range,
                    theirs.meta,
                )
            for ours, theirs in zip(before.segments(block), after.segments(block), strict=True):
                assert_same(ours, theirs)


@pytest.mark.parametrize("name", FORMATS)
@RANDOM
@given(seed=SEEDS, block=st.integers(4, 3000), share=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_part_of_a_file_holds_that_part(
    name: str, seed: int, block: int, share: tuple[float, float]
) -> None:
    """A stretch of the first and the last signal: values, gaps and what is passed through."""
    with TemporaryDirectory() as folder:
        path, source = make(name, folder, seed)
        form = get_format(name)
        with open_file(path, source) as reader:
            file, infos = reader.info, list(reader.signals())
            kept = sorted({0, len(infos) - 1})
            shortest = min(infos[number].length for number in kept)
            if shortest == 0:
                return
            start, stop = (round(point * shortest) for point in sorted(share))
            start, stop = (0, 1) if infos[0].axes == "HWC" else (start, max(stop, start + 1))
            start = min(start, shortest - 1)
            stop = min(stop, shortest)
            wanted = [form.native(reader.fetch(number, start, stop)) for number in kept]
            segments = [
                replace(
                    form.cut(segment, low, high, file),
                    info=replace(segment.info, shape=_shape(segment, stop - start)),
                    start=max(0, segment.start - start),
                )
                for number, info in enumerate(infos)
                if number in kept
                for segment in _segments(reader, number, info.length, block)
                for low, high in [_within(segment, start, stop)]
                if low < high
            ]
            part = form.part(file, dict.fromkeys(kept, stop - start))
            if name == "table":  # a few rows of a column can look like text: their own text tells
                whole = (reader.fetch(number, 0, infos[number].length) for number in kept)
                texts = [_rows(form.text(part, [one])) for one in whole]
                header = len(_rows(form.text(part, [])))
                expected = [row for rows in texts for row in rows[header:][start:stop]]
                assert _rows(form.text(part, segments))[header:] == expected
                return
        target = Path(folder) / f"part_{Path(form.restored_name(path.name, part)).name}"
        write(target, part, segments)
        with open_file(target, source) as reader:
            found = [np.concatenate([form.native(s) for s in one]) for one in _by_signal(reader, block)]
        assert len(found) == len(wanted)
        for ours, theirs in zip(wanted, found, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def _rows(text: Iterable[str]) -> list[list[str]]:
    return list(csv.reader(io.StringIO("".join(text), newline="")))


def _shape(segment: Signal, length: int) -> tuple[int, ...]:
    return segment.info.shape if segment.info.axes == "HWC" else (length, *segment.info.shape[1:])


def _segments(reader: Reader, number: int, length: int, block: int) -> Iterator[Signal]:
    for start in range(0, length, block):
        yield reader.fetch(number, start, start + block)


def _within(segment: Signal, start: int, stop: int) -> tuple[int, int]:
    return max(0, start - segment.start), min(segment.length, stop - segment.start)


def _by_signal(reader: Reader, block: int) -> Iterator[list[Signal]]:
    for number, info in enumerate(reader.signals()):
        yield list(_segments(reader, number, info.length, block))


@pytest.mark.parametrize("name", FORMATS)
@RANDOM
@given(seed=SEEDS, block=st.integers(3, 4000))
def test_segments_tile_each_signal_and_equal_fetch(name: str, seed: int, block: int) -> None:
    with TemporaryDirectory() as folder:
        path, source = make(name, folder, seed)
        with open_file(path, source) as reader:
            infos = list(reader.signals())
            assert len(infos) == reader.info.n_signals
            index, position = -1, 0
            for segment in list(reader.segments(block)):
                if segment.start == 0:
                    assert index < 0 or position == infos[index].length
                    index, position = index + 1, 0
                assert segment.info == infos[index]
                assert segment.start == position
                assert segment.length <= block
                position += segment.length
                assert_same(segment, reader.fetch(index, segment.start, segment.start + segment.length))
            assert (index, position) == (len(infos) - 1, infos[-1].length)


@pytest.mark.parametrize("name", FORMATS)
@RANDOM
@given(seed=SEEDS, data=st.data())
def test_fetch_gives_any_stretch_in_any_order(name: str, seed: int, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path, source = make(name, folder, seed)
        with open_file(path, source) as reader:
            infos = list(reader.signals())
            index = data.draw(st.integers(0, len(infos) - 1))
            length = infos[index].length
            whole = reader.fetch(index, 0, length)
            assert whole.values.shape == infos[index].shape
            if infos[index].axes == "HWC":
                return
            for _ in range(4):
                start = data.draw(st.integers(0, length - 1))
                stop = data.draw(st.integers(start + 1, length + 3))
                part = reader.fetch(index, start, stop)
                assert (part.start, part.length) == (start, min(stop, length) - start)
                given = np.ones(part.values.shape, bool) if part.mask is None else part.mask
                np.testing.assert_array_equal(part.values[given], whole.values[start:stop][given])


@pytest.mark.parametrize("name", FORMATS)
def test_truncated_files_are_refused_by_name(name: str, tmp_path: Path) -> None:
    for seed in range(4):
        path, source = make(name, tmp_path, seed)
        content = path.read_bytes()
        cut = tmp_path / f"cut{path.suffix}"
        rng = np.random.default_rng(seed)
        for size in {*rng.integers(1, len(content), 12).tolist(), 1, 2, len(content) // 2}:
            cut.write_bytes(content[:size])
            message = refusal(cut, source)
            assert "cut" in message or path.suffix in READABLE_IN_PART


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_never_raise_anything_but_data_errors(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    for seed in range(4):
        path, source = make(name, tmp_path, seed)
        content = bytearray(path.read_bytes())
        for _ in range(15):
            damaged = bytearray(content)
            for place in rng.integers(0, len(content), 3):
                damaged[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            message = refusal(path, source)
            assert not message or path.name in message


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 500, b"\x89PNG\r\n\x1a\n" + b"\1" * 300, b"hello, world\n\xff\xfe", bytes(range(256)) * 40],
    ids=["empty", "zeros", "png head", "text", "bytes"],
)
def test_foreign_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    for suffix in get_format(name).suffixes:
        path = tmp_path / f"foreign{suffix}"
        path.write_bytes(content)
        with pytest.raises(DataError, match="foreign"):
            read_all(path, default_source(name))


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_file_is_a_data_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"absent{get_format(name).suffixes[0]}"
    with pytest.raises(DataError, match="does not exist"):
        probe(path, default_source(name))


@pytest.mark.parametrize("name", FORMATS)
def test_suffixes_lead_to_the_format(name: str) -> None:
    for suffix in get_format(name).suffixes:
        assert format_for(f"folder/FILE{suffix.upper()}") == name


def test_unknown_suffixes_name_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"\.pod5"):
        format_for("x.docx")


@pytest.mark.parametrize("name", FORMATS)
def test_a_failed_write_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    source_folder, target_folder = tmp_path / "in", tmp_path / "out"
    source_folder.mkdir()
    target_folder.mkdir()
    path, source = make(name, source_folder, 3)

    def broken(segments: Iterator[Signal]) -> Iterator[Signal]:
        yield next(segments)
        raise InterruptedError

    with open_file(path, source) as reader, pytest.raises(InterruptedError):
        write(target_folder / path.name, reader.info, broken(reader.segments(10)))
    assert list(target_folder.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_an_existing_file_is_replaced_as_a_whole(name: str, tmp_path: Path) -> None:
    path, source = make(name, tmp_path, 5)
    with open_file(path, source) as reader:
        target = tmp_path / get_format(name).restored_name("target" + path.suffix, reader.info)
        target.write_bytes(b"old")
        write(target, reader.info, reader.segments(100))
    assert read_all(target, source) > 0


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_a_resource_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, source = make(name, tmp_path, 6)
    before = sorted(tmp_path.iterdir())

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with open_file(path, source) as reader, pytest.raises(ResourceError, match="no space left"):
        write(tmp_path / f"target{path.suffix}", reader.info, reader.segments(100))
    assert sorted(tmp_path.iterdir()) == before


FILL_A_DISK = """
import sys
from pathlib import Path
import numpy as np
from native_files import MAKERS
from anycodec.errors import ResourceError
from anycodec.io.formats import open_file, write
disk, folder = Path(sys.argv[1]), Path(sys.argv[2])
with (disk / "ballast").open("wb", buffering=0) as ballast:
    try:
        while True:
            ballast.write(bytes(4096))
    except OSError:
        ballast.truncate(ballast.tell() - 4096)
for name, maker in MAKERS.items():
    path, source = maker(folder, np.random.default_rng(1))
    with open_file(path, source) as reader:
        segments = [segment for _ in range(50) for segment in reader.segments(10**6)]
        segments = segments[:1] if name == "image" else segments
        try:
            write(disk / path.name, reader.info, segments)
        except ResourceError:
            print("refused", name)
    assert [file.name for file in disk.iterdir()] == ["ballast"]
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare (util-linux)")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A tiny tmpfs in a namespace of its own."""
    disk, folder = tmp_path / "disk", tmp_path / "files"
    disk.mkdir()
    folder.mkdir()
    script = f"mount -t tmpfs -o size=64k none '{disk}' || exit 99; exec \"$@\""
    command = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        script,
        "sh",
        sys.executable,
        "-c",
        FILL_A_DISK,
        str(disk),
        str(folder),
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode in (1, 99) and "refused" not in done.stdout and "Traceback" not in done.stderr:
        pytest.skip("not allowed to mount a tmpfs here")
    assert done.stdout.split("\n")[:-1] == [f"refused {name}" for name in FORMATS], done.stderr
