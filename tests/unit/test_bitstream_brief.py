"""What keeps small files small: brief headers against a preset dictionary, and no index for one segment."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import acz_files as acz
import independent_reader
import numpy as np
import pytest
from independent_fields import Fields, header_of, preset
from independent_reader import sections
from test_bitstream_damage import END, HEADER, SEGMENT, SIGNAL, deflate, file_of, json_payload, section, uint

from anycodec.bitstream.container import AczReader, AczWriter, Header, SegmentData
from anycodec.bitstream.dictionary import PRESET
from anycodec.bitstream.frame import TOKENS_ONLY
from anycodec.bitstream.header import pack_brief, unpack_brief
from anycodec.bitstream.parts import Choice
from anycodec.errors import FormatError
from anycodec.types import FileInfo, SignalInfo, Tokens

BRIEF = 7
GOLDEN = Path(__file__).parents[1] / "golden" / "acz"
PICTURE = SignalInfo(
    id="", axes="HWC", shape=(512, 768, 3), dtype="uint8", unit="level",
    channels=("red", "green", "blue"), value_range=(0.0, 255.0),
)  # fmt: skip


def picture_header() -> Header:
    return acz.make_header(
        (256, 256),
        source_name="kodim01.png",
        file=FileInfo(path="kodim01.png", format="image", n_signals=1),
        source={"type": "image", "mode": "rgb", "window": {"size": [256, 256], "overlap": 0}},
    )


def write_picture(path: Path) -> Path:
    tokens = Tokens((np.zeros((6, 16, 16), np.int64),) * 2, (256, 256))
    with AczWriter(path, picture_header(), acz.make_coder((256, 256))) as writer:
        writer.add(PICTURE, SegmentData(start=0, length=1, tokens=tokens))
    return path


def test_the_dictionary_is_that_of_the_specification() -> None:
    assert preset() == PRESET
    assert len(PRESET) < 2**15  # all of it within reach of DEFLATE


def test_a_picture_takes_few_bytes_beside_its_tokens(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.acz")
    with AczReader(path) as reader:
        sizes = reader.sizes()
        assert reader.header == picture_header()
        reader.verify()
    assert sum(sizes.values()) == path.stat().st_size
    assert path.stat().st_size - sizes["tokens"] < 200
    assert sizes["header"] > 32  # the fingerprint alone


@pytest.mark.parametrize("fingerprint", ["ab" * 32, "AB" * 32, "", "x" * 64, None, 7])
def test_any_fingerprint_returns(fingerprint: object) -> None:
    """One that is no SHA-256 in lower case stays text."""
    codec = {"run": "r"} if fingerprint is None else {"fingerprint": fingerprint, "run": "r"}
    header = replace(picture_header(), codec=codec)
    payload = pack_brief(header)
    assert unpack_brief(payload) == header
    assert header_of(BRIEF, payload)["codec"] == codec
    assert payload[0] == (fingerprint == "ab" * 32)


def test_a_file_of_one_segment_has_no_index_and_is_found_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.acz"
    segment = acz.make_segment(np.random.default_rng(0))
    with AczWriter(path, acz.make_header(), acz.make_coder()) as writer:
        writer.add(acz.make_info(0, shape=(48, 2)), segment)
    assert [kind for kind, _, _ in sections(path.read_bytes())] == [BRIEF, SIGNAL, SEGMENT, END]
    with AczReader(path) as reader:
        selection = reader.choose(Choice(stretch=slice(10, 20)))
        ((info, found),) = reader.segments(acz.make_coder(), selection)
    assert (info, selection.parts[0].length) == (acz.make_info(0, shape=(48, 2)), 10)
    acz.assert_same_segment(found, segment)
    with AczWriter(path, acz.make_header(), acz.make_coder()) as writer:
        writer.add(acz.make_info(0), segment)
        writer.add(acz.make_info(0), replace(segment, start=48))
    assert [kind for kind, _, _ in sections(path.read_bytes())] == [BRIEF, SIGNAL, SEGMENT, SEGMENT, 4, END]


def test_more_sections_need_an_index(tmp_path: Path) -> None:
    """A reader refuses to go through a long file that hides where things stand."""
    path = acz.write_small(tmp_path / "a.acz")
    *parts, _, (_, _, end) = sections(path.read_bytes())
    fields = Fields(end)
    fields.uint()
    bare = [section(kind, payload) for kind, _, payload in parts]
    path.write_bytes(file_of(*bare, section(END, b"\0" + fields.rest()), version=2))
    with AczReader(path) as reader:
        with pytest.raises(FormatError, match="the index is missing"):
            reader.choose(Choice())
        with pytest.raises(FormatError, match="the index is incomplete"):
            reader.verify()


def test_an_index_that_is_lacking_in_version_1_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.acz"
    header = acz.make_header()
    with AczWriter(path, header, acz.make_coder(), version=TOKENS_ONLY) as writer:
        writer.add(acz.make_info(0), acz.make_segment(np.random.default_rng(0)))
    parts = sections(path.read_bytes())
    assert [kind for kind, _, _ in parts] == [HEADER, SIGNAL, SEGMENT, 4, END]
    fields = Fields(parts[-1][2])
    fields.uint()
    bare = [section(kind, payload) for kind, _, payload in parts[:-2]]
    path.write_bytes(file_of(*bare, section(END, b"\0" + fields.rest())))
    with AczReader(path) as reader, pytest.raises(FormatError, match="the index is incomplete"):
        reader.verify()


def test_version_1_knows_no_brief_header(tmp_path: Path) -> None:
    path = tmp_path / "a.acz"
    path.write_bytes(file_of(section(BRIEF, pack_brief(picture_header())), section(END, bytes(15))))
    with pytest.raises(FormatError, match="a section of type 7 instead of HEADER"):
        AczReader(path)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "1 bytes expected"),
        (b"\2", "fingerprint in unknown form 2"),
        (b"\1" + bytes(31), "32 bytes expected"),
        (b"\0" + json_payload({}), "missing"),
        (b"\0" + uint(2**24 + 1) + deflate(b"{}"), "above the limit"),
        (b"\0" + uint(2**24) + deflate(bytes(2**26)), "does not expand"),
    ],
)
def test_brief_headers_that_no_writer_makes(tmp_path: Path, payload: bytes, said: str) -> None:
    path = tmp_path / "a.acz"
    path.write_bytes(file_of(section(BRIEF, payload), section(END, bytes(15)), version=2))
    tracemalloc.start()
    with pytest.raises(FormatError, match=said):
        AczReader(path)
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def test_files_of_version_2_with_a_long_header_decode_for_ever() -> None:
    """What the specification showed before there were brief headers. If this fails, mend the reader."""
    path = GOLDEN / "v2_plain.acz"
    with AczReader(path) as reader:
        reader.verify()
        assert (reader.version, reader.header.requires) == (2, ["restoration"])
        (part,) = reader.choose(Choice()).parts
        assert part.info.shape == (9, 1)
    ((_, segment),) = independent_reader.read(path).segments
    assert segment["values"].ravel().tolist() == [3, 4, 4, 5, 7, 6, 5, 5, 1]
