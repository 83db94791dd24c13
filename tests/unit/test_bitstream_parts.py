"""Parts of a file by way of its index, and what is left of damaged ones."""

from __future__ import annotations

from pathlib import Path

import acz_files as acz
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from anycodec.bitstream import container
from anycodec.bitstream.container import AczReader, AczWriter
from anycodec.bitstream.frame import Kind
from anycodec.bitstream.parts import Choice, stored
from anycodec.bitstream.salvage import Gap, SalvageReader
from anycodec.errors import FormatError

SIGNALS = 5
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path: Path) -> Path:
    """Five signals of two segments, 96 samples; an INDEX after every four sections."""
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "INDEXED", 4)
        with AczWriter(path, acz.make_header(), acz.make_coder()) as writer:
            for number in range(SIGNALS):
                for start in (0, 48):
                    writer.add(acz.make_info(number), acz.make_segment(rng, start=start))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "a.acz")


def sections(path: Path) -> list[tuple[Kind, int, int]]:
    """Type, offset and size of the payload of each section."""
    data = path.read_bytes()
    offset, found = 16, []
    while offset < len(data) - 20:
        length = int.from_bytes(data[offset + 1 : offset + 5], "little")
        found.append((Kind(data[offset]), offset, length))
        offset += 9 + length
    return found


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x5A
    path.write_bytes(content)


def of(number: int) -> str:
    return acz.make_info(number).id


def everything(path: Path) -> list[tuple[str, int, list[int]]]:
    with AczReader(path) as reader:
        return [plain(info, segment) for info, segment in reader.segments(acz.make_coder())]


def plain(info, segment) -> tuple[str, int, list[int]]:
    return info.id, segment.start, segment.tokens.grids[0].ravel().tolist()


def chosen(path: Path, choice: Choice, **options: bool) -> list[tuple[str, int, list[int]]]:
    with AczReader(path) as reader:
        selection = reader.choose(choice, **options)
        return [plain(info, segment) for info, segment in reader.segments(acz.make_coder(), selection)]


def test_the_index_lists_all_sections(file):
    with AczReader(file) as reader:
        entries = list(stored(reader._frame, reader._last_index))
    expected = [(kind, offset) for kind, offset, _ in sections(file) if kind in (Kind.SIGNAL, Kind.SEGMENT)]
    assert [(entry.kind, entry.offset) for entry in entries] == expected
    assert len(expected) == 3 * SIGNALS


@pytest.mark.parametrize(
    ("choice", "options", "wanted"),
    [
        (Choice(), {}, range(10)),
        (Choice(ids=frozenset([of(3)])), {}, [6, 7]),
        (Choice(ids=frozenset([of(4), of(1)])), {}, [2, 3, 8, 9]),
        (Choice(stretch=slice(50, 60)), {}, [1, 3, 5, 7, 9]),
        (Choice(stretch=slice(50, 60)), {"from_start": True}, range(10)),
        (Choice(ids=frozenset([of(2)]), stretch=slice(0, 48)), {}, [4]),
        (Choice(ids=frozenset([of(2)]), stretch=slice(-1, None)), {}, [5]),
        (Choice(stretch=slice(96, None)), {}, []),
    ],
)
def test_what_is_chosen_is_read_and_nothing_else(file, choice, options, wanted):
    """Every segment that is not needed is damaged first."""
    whole = everything(file)
    segments = [(offset, length) for kind, offset, length in sections(file) if kind == Kind.SEGMENT]
    for number, (offset, length) in enumerate(segments):
        if number not in wanted:
            flip(file, offset + 5 + length // 2)
    assert chosen(file, choice, **options) == [whole[number] for number in wanted]


def test_few_bytes_are_read_of_a_long_file(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    path = tmp_path / "long.acz"
    with AczWriter(path, acz.make_header(), acz.make_coder()) as writer:
        for start in range(0, 48 * 400, 48):
            writer.add(acz.make_info(0, shape=(48 * 400, 2)), acz.make_segment(rng, start=start, windows=2))
    with AczReader(path) as reader:
        read = []
        at = reader._frame._at
        monkeypatch.setattr(reader._frame, "_at", lambda offset, n: read.append(n) or at(offset, n))
        selection = reader.choose(Choice(stretch=slice(5000, 5010)))
        assert len(list(reader.segments(acz.make_coder(), selection))) == 1
        size = reader.size
    assert sum(read) < 0.1 * size


def test_stretches_are_counted_within_segments(file):
    with AczReader(file) as reader:
        parts = reader.choose(Choice(stretch=slice(40, 90))).parts
    assert [part.length for part in parts] == [50] * SIGNALS
    assert [parts[0].within(entry) for entry in parts[0].segments] == [(40, 48), (0, 42)]


@pytest.mark.parametrize("kind", [Kind.INDEX, Kind.SIGNAL])
def test_a_damaged_index_or_description_is_named(file, kind):
    offset = next(offset for found, offset, _ in sections(file) if found == kind)
    flip(file, offset + 12)
    with AczReader(file) as reader, pytest.raises(FormatError, match="checksum is wrong"):
        reader.choose(Choice())


# --- salvage ------------------------------------------------------------------------------------


def salvage(path: Path, **options: bool):
    with SalvageReader(path) as reader:
        selection = reader.salvaged(**options)
        found = [plain(info, segment) for info, segment in reader.segments(acz.make_coder(), selection)]
        return found, reader.damages, reader.gaps(selection)


def test_a_whole_file_is_salvaged_whole(file):
    found, damages, gaps = salvage(file)
    assert found == everything(file)
    assert damages == []
    assert gaps == []


@pytest.mark.parametrize("place", [0, 2, 9])
@pytest.mark.parametrize("where", ["type", "length", "payload", "checksum"])
def test_a_damaged_segment_leaves_the_others(file, place, where):
    """Whatever byte of the section it is, the index or its length tells where the next one stands."""
    whole = everything(file)
    segments = [(offset, length) for kind, offset, length in sections(file) if kind == Kind.SEGMENT]
    offset, length = segments[place]
    within = {"type": 0, "length": 3, "payload": 5 + length // 2, "checksum": 5 + length}[where]
    flip(file, offset + within)
    found, damages, gaps = salvage(file)
    assert found == whole[:place] + whole[place + 1 :]
    assert [damage.offset for damage in damages] == [offset]
    start = 48 * (place % 2)
    assert gaps == [Gap(of(place // 2), start, start + 48)]


def test_segments_that_need_those_before_are_lost_with_them(file):
    whole = everything(file)
    offset = next(offset for kind, offset, _ in sections(file) if kind == Kind.SEGMENT)
    flip(file, offset + 20)
    found, _, gaps = salvage(file, from_start=True)
    assert found == whole[2:]
    assert gaps == [Gap(of(0), 0, 96)]


def test_a_damaged_description_loses_its_signal(file):
    whole = everything(file)
    offset = [offset for kind, offset, _ in sections(file) if kind == Kind.SIGNAL][2]
    flip(file, offset + 8)
    found, damages, gaps = salvage(file)
    assert found == whole[:4] + whole[6:]
    assert [damage.why for damage in damages] == [
        "the section's checksum is wrong",
        *["a segment of signal 2, whose description is lost"] * 2,
    ]
    assert gaps == []  # the header of this file names two signals only


def test_a_file_that_was_cut_off_is_read_up_to_there(file):
    whole = everything(file)
    third = [offset for kind, offset, _ in sections(file) if kind == Kind.SEGMENT][3]
    file.write_bytes(file.read_bytes()[: third + 10])
    found, damages, gaps = salvage(file)
    assert found == whole[:3]
    assert [damage.offset for damage in damages] == [third, third + 10]
    assert gaps == [Gap(of(1), 48, 96)]


def test_signals_that_are_gone_are_counted(file):
    """The header says two signals."""
    second = [offset for kind, offset, _ in sections(file) if kind == Kind.SIGNAL][1]
    file.write_bytes(file.read_bytes()[:second])
    assert salvage(file)[2] == [Gap("number 1", 0, 0)]


@pytest.mark.parametrize("kind", [Kind.INDEX, Kind.END])
def test_damage_to_what_only_helps_loses_nothing(file, kind):
    whole = everything(file)
    offset = [offset for found, offset, _ in sections(file) if found == kind][-1]
    flip(file, offset + 7)
    found, damages, gaps = salvage(file)
    assert found == whole
    assert [damage.offset for damage in damages] == [offset]
    assert gaps == []


@pytest.mark.parametrize("place", [3, 20])
def test_without_prologue_or_header_nothing_can_be_read(file, place):
    flip(file, place)
    with pytest.raises(FormatError):
        SalvageReader(file)


@given(places=st.lists(st.integers(60, 2**20), min_size=1, max_size=6), cut=st.integers(0, 400))
@same_folder
def test_whatever_is_salvaged_was_there(tmp_path, places, cut):
    path = write(tmp_path / "a.acz")
    whole = everything(path)
    size = path.stat().st_size
    first = sections(path)[1][1]
    for place in places:
        flip(path, first + place % (size - first))
    path.write_bytes(path.read_bytes()[: size - cut])
    found, damages, gaps = salvage(path)
    rest = iter(whole)
    assert all(segment in rest for segment in found)
    assert len(found) == len(whole) or damages
    assert len(found) == len(whole) or gaps or len(damages) > 1
