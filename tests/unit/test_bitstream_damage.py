"""Files are hostile: whatever is wrong with one, it is refused by name, with little memory and time."""

import json
import struct
import tracemalloc
import zlib

import acz_files as acz
import google_crc32c
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from anycodec.bitstream.container import AczReader
from anycodec.errors import FormatError

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
HEADER, SIGNAL, SEGMENT, INDEX, END = 1, 2, 3, 4, 5
MEBIBYTE = 2**20


def read(path, coder=None):
    with AczReader(path) as reader:
        return list(reader.segments(coder or acz.make_coder()))


def refusal(path, content) -> str:
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        read(path)
    assert caught.value.where is not None
    return caught.value.what


def uint(value):
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes(data) + bytes([value])


def deflate(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def crc(data):
    return struct.pack("<I", google_crc32c.value(data))


def section(kind, payload, length=None):
    body = struct.pack("<BI", kind, len(payload) if length is None else length) + payload
    return body + crc(body)


def file_of(*sections, version=1):
    """A file with right checksums around sections of any content; the last one is its END."""
    start = b"\x89ACZ\r\n\x1a\n" + struct.pack("<HH", version, 0)
    body = start + crc(start) + b"".join(sections[:-1])
    end = struct.pack("<Q", len(body))
    return body + sections[-1] + end + crc(end + b"ACZ.END\n") + b"ACZ.END\n"


def json_payload(document):
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return uint(len(text)) + deflate(text)


def header_json(**changes):
    fields = {
        "program": "p", "source_name": "n", "file": {"format": "pod5", "n_signals": 1, "meta": {}},
        "source": {}, "codec": {}, "codebook_sizes": [64], "coder": "adaptive-range-1",
    }  # fmt: skip
    return {**fields, **changes}


GOOD_HEADER = section(HEADER, json_payload(header_json()))
GOOD_SIGNAL = section(
    SIGNAL, b"\0\0" + json_payload({"id": "", "axes": "TC", "shape": [9, 1], "dtype": "int16"})
)
EMPTY_END = section(END, bytes(15))
GRID = b"\x01" + uint(4) + uint(4) + b"\0abc"


def segment(tail, signal=0, windows=1, grid=GRID):
    """A segment of length 9 whose statistics, mask and attachments are `tail`."""
    return section(SEGMENT, uint(signal) + uint(0) + uint(9) + uint(windows) + grid + tail)


def test_the_hand_made_file_is_right_up_to_its_index(tmp_path):
    what = refusal(tmp_path / "a.acz", file_of(GOOD_HEADER, GOOD_SIGNAL, segment(b"\0\0\0"), EMPTY_END))
    assert "the index is incomplete" in what


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_one_byte_flipped_anywhere(tmp_path, bits):
    good = acz.write_small(tmp_path / "good.acz").read_bytes()
    for offset in range(len(good)):
        damaged = bytearray(good)
        damaged[offset] ^= bits
        assert refusal(tmp_path / "bad.acz", damaged), offset


def test_what_a_flipped_byte_is_called(tmp_path):
    good = bytearray(acz.write_small(tmp_path / "good.acz").read_bytes())

    def flipped(offset):
        damaged = bytearray(good)
        damaged[offset] ^= 1
        return refusal(tmp_path / "bad.acz", damaged)

    assert "not an .acz file" in flipped(1)
    assert "first bytes are damaged" in flipped(8)
    assert "checksum is wrong (in the header at byte 16)" in flipped(40)
    assert "section's length" in flipped(20)
    assert "checksum is wrong (in a section at byte" in flipped(len(good) // 2)
    assert "checksum is wrong (in the END section at byte" in flipped(len(good) - 25)
    assert "last bytes are damaged" in flipped(len(good) - 10)
    assert "end mark is missing" in flipped(len(good) - 1)


def test_cut_anywhere(tmp_path):
    good = acz.write_small(tmp_path / "good.acz").read_bytes()
    for length in range(len(good)):
        what = refusal(tmp_path / "bad.acz", good[:length])
        assert "truncated" in what or "empty" in what


def test_bytes_added_or_taken_inside(tmp_path):
    good = acz.write_small(tmp_path / "good.acz").read_bytes()
    for offset in range(0, len(good) + 1, 7):
        refusal(tmp_path / "bad.acz", good[:offset] + b"\0" + good[offset:])
        refusal(tmp_path / "bad.acz", good[:offset] + good[offset + 1 :] if offset < len(good) else good[1:])


def test_sections_that_are_missing_doubled_or_swapped(tmp_path):
    good = acz.write_small(tmp_path / "good.acz", signals=3).read_bytes()
    sections = [section(*part) for part in split(good)]
    assert file_of(*sections, version=2) == good
    header, *middle, end = sections
    for i in range(len(middle)):
        refusal(tmp_path / "bad.acz", file_of(header, *middle[:i], *middle[i + 1 :], end, version=2))
        refusal(tmp_path / "bad.acz", file_of(header, *middle[: i + 1], *middle[i:], end, version=2))
        if i:
            swapped = [*middle[: i - 1], middle[i], middle[i - 1], *middle[i + 1 :]]
            refusal(tmp_path / "bad.acz", file_of(header, *swapped, end, version=2))


@given(st.binary(max_size=300))
@same_folder
def test_garbage(tmp_path, content):
    refusal(tmp_path / "a.acz", content)
    refusal(tmp_path / "a.acz", file_of(GOOD_HEADER, content, EMPTY_END))


@given(st.sampled_from([HEADER, SIGNAL, SEGMENT, INDEX, END]), st.binary(max_size=120))
@same_folder
def test_garbage_inside_right_checksums(tmp_path, kind, payload):
    parts = {HEADER: 0, END: 2}
    sections = [GOOD_HEADER, GOOD_SIGNAL, EMPTY_END]
    if kind in parts:
        sections[parts[kind]] = section(kind, payload)
    else:
        sections.insert(2, section(kind, payload))
    refusal(tmp_path / "a.acz", file_of(*sections))


@given(st.integers(1, 9), st.integers(0, 2**16), st.binary(min_size=1, max_size=3))
@same_folder
def test_changed_payloads_with_repaired_checksums(tmp_path, number, place, change):
    """Whoever repairs the checksums can change what is stored, but not make the reader fail otherwise."""
    parts = split(acz.write_small(tmp_path / "good.acz", sizes=(64, 8)).read_bytes())
    kind, payload = parts[number % len(parts)]
    at = place % (len(payload) + 1)
    parts[number % len(parts)] = kind, payload[:at] + change + payload[at + len(change) :]
    (tmp_path / "bad.acz").write_bytes(file_of(*(section(*part) for part in parts)))
    try:
        segments = read(tmp_path / "bad.acz", acz.make_coder((64, 8)))
    except FormatError:
        return
    assert len(segments) == 4


def split(content):
    """(type, payload) of each section of a good file."""
    offset, parts = 16, []
    while offset < len(content) - 20:
        kind, length = struct.unpack_from("<BI", content, offset)
        parts.append((kind, content[offset + 5 : offset + 5 + length]))
        offset += 9 + length
    return parts


def test_other_files(tmp_path):
    assert "not an .acz file" in refusal(tmp_path / "a.acz", b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert "empty" in refusal(tmp_path / "a.acz", b"")
    good = acz.write_small(tmp_path / "good.acz").read_bytes()
    assert "text mode" in refusal(tmp_path / "a.acz", good.replace(b"\r\n", b"\n"))
    assert "text mode" in refusal(tmp_path / "a.acz", good.replace(b"\n", b"\r\n"))
    with pytest.raises(FormatError, match="no such file"):
        read(tmp_path / "missing.acz")
    with pytest.raises(FormatError, match="folder"):
        read(tmp_path)


def test_newer_files(tmp_path):
    path = tmp_path / "a.acz"
    assert "version 3, this program reads versions 1 and 2" in refusal(
        path, file_of(GOOD_HEADER, EMPTY_END, version=3)
    )
    header = section(HEADER, json_payload(header_json(coder="neural-2")))
    assert "neural-2" in refusal(path, file_of(header, EMPTY_END))
    assert "unknown type 9" in refusal(path, file_of(GOOD_HEADER, section(9, b""), EMPTY_END))
    what = refusal(path, file_of(GOOD_HEADER, section(200, b"later"), section(END, bytes(15))))
    assert "totals do not agree" in what, "an ancillary section is passed over"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ([section(HEADER, b"", length=2**31), EMPTY_END], "length"),
        ([section(HEADER, json_payload(b"[" * 5000 + b"]" * 5000)), EMPTY_END], "JSON"),
        ([section(HEADER, json_payload(b'{"a":' * 70 + b"1" + b"}" * 70)), EMPTY_END], "64 levels"),
        ([section(HEADER, json_payload(b'{"a":NaN}')), EMPTY_END], "NaN"),
        ([section(HEADER, json_payload(b'{"a":' + b"1" * 9999 + b"}")), EMPTY_END], "JSON"),
        ([section(HEADER, json_payload(b"[]")), EMPTY_END], "not a JSON object"),
        ([section(HEADER, json_payload(header_json(codebook_sizes=[2**40]))), EMPTY_END], "codebook sizes"),
        ([section(HEADER, json_payload(header_json(codebook_sizes=[True]))), EMPTY_END], "extents"),
        ([section(HEADER, json_payload(header_json(program=7))), EMPTY_END], "program"),
        ([section(HEADER, uint(2**25) + b"x"), EMPTY_END], "above the limit"),
        ([GOOD_HEADER, segment(b"\0\0\0"), EMPTY_END], "before the first signal"),
        ([GOOD_HEADER, GOOD_SIGNAL, GOOD_SIGNAL, EMPTY_END], "signal 1 expected"),
        ([GOOD_HEADER, GOOD_SIGNAL, segment(b"\0\0\0", signal=1), EMPTY_END], "another"),
        ([GOOD_HEADER, GOOD_SIGNAL, segment(b"\0\0\0x"), EMPTY_END], "superfluous"),
        ([GOOD_HEADER, GOOD_SIGNAL, segment(b"\0\0\0", windows=2**62), EMPTY_END], "windows"),
        ([GOOD_HEADER, GOOD_SIGNAL, segment(b"", grid=b"\2" + uint(2**20) * 2), EMPTY_END], "token grid"),
        ([GOOD_HEADER, GOOD_SIGNAL, segment(b"\x01" + uint(2**40)), EMPTY_END], "statistics"),
        ([GOOD_HEADER, GOOD_SIGNAL, segment(b"\1\1\0\x08" + bytes(8) + b"\0\0"), EMPTY_END], "range"),
        ([GOOD_HEADER, GOOD_SIGNAL, segment(b"\0\x01\x00" + uint(1) + b"\xff" + b"\0"), EMPTY_END], "mask"),
        ([GOOD_HEADER, GOOD_SIGNAL, segment(b"\0\0" + uint(2**20)), EMPTY_END], "attachments"),
        ([GOOD_HEADER, GOOD_SIGNAL, segment(b"\0\0\x01\x01a" + uint(2**40)), EMPTY_END], "attachment"),
        ([GOOD_HEADER, GOOD_SIGNAL, section(INDEX, b"\0\x80\x00"), EMPTY_END], "superfluous"),
        ([GOOD_HEADER, section(END, b"\xff" * 20)], "below 2\\^63"),
    ],
)  # fmt: skip
def test_lies_inside_right_checksums(tmp_path, sections, message):
    (tmp_path / "a.acz").write_bytes(file_of(*sections))
    with pytest.raises(FormatError, match=message):
        read(tmp_path / "a.acz")


def test_tokens_are_bounded_over_all_levels_together(tmp_path):
    header = section(HEADER, json_payload(header_json(codebook_sizes=[2, 2])))
    half = b"\x01" + uint(2**25 + 1) + uint(1) + b"\x01"
    content = file_of(header, GOOD_SIGNAL, segment(b"\0\0\0", grid=half + half), EMPTY_END)
    (tmp_path / "a.acz").write_bytes(content)
    with pytest.raises(FormatError, match="more than 67108864 tokens"):
        read(tmp_path / "a.acz", acz.make_coder((2, 2)))


@pytest.mark.parametrize(
    "document",
    [
        {"id": 1, "axes": "TC", "shape": [9, 1], "dtype": "int16"},
        {"id": "", "axes": "XY", "shape": [9, 1], "dtype": "int16"},
        {"id": "", "axes": "TC", "shape": [9], "dtype": "int16"},
        {"id": "", "axes": "TC", "shape": [-9, 1], "dtype": "int16"},
        {"id": "", "axes": "TC", "shape": [9, 1], "dtype": "object"},
        {"id": "", "axes": "TC", "shape": [9, 1], "dtype": "int16", "rate": "fast"},
        {"id": "", "axes": "TC", "shape": [9, 1], "dtype": "int16", "rate": 10**400},
        {"id": "", "axes": "TC", "shape": [9, 1], "dtype": "int16", "channels": "ab"},
        {"id": "", "axes": "TC", "shape": [9, 1], "dtype": "int16", "value_range": [0]},
        {"id": "", "axes": "TC", "shape": [9, 1], "dtype": "int16", "meta": []},
    ],
)
def test_descriptions_of_signals_are_checked(tmp_path, document):
    content = file_of(GOOD_HEADER, section(SIGNAL, b"\0\0" + json_payload(document)), EMPTY_END)
    assert "in a section at byte" in refusal(tmp_path / "a.acz", content)


def bomb(size):
    """DEFLATE of `size` zeros, about a thousandth of it."""
    return deflate(bytes(size))


@pytest.mark.parametrize(
    "sections",
    [
        [section(HEADER, uint(100) + bomb(200 * MEBIBYTE)), EMPTY_END],
        [GOOD_HEADER, section(SIGNAL, b"\0\0" + uint(100) + bomb(200 * MEBIBYTE)), EMPTY_END],
        [GOOD_HEADER, GOOD_SIGNAL, section(INDEX, b"\0\x01\x10" + bomb(200 * MEBIBYTE)), EMPTY_END],
        [
            GOOD_HEADER,
            GOOD_SIGNAL,
            segment(b"\0\0\x01\x01a" + uint(10) + b"\x01" + uint(9) + bomb(10 * MEBIBYTE)),
            EMPTY_END,
        ],
        [GOOD_HEADER, GOOD_SIGNAL, segment(b"\0\0\0", windows=2**24), EMPTY_END],
    ],
)
def test_bombs_take_no_memory(tmp_path, sections):
    content = file_of(*sections)
    tracemalloc.start()
    try:
        refusal(tmp_path / "a.acz", content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * MEBIBYTE + 8 * len(content)


def test_a_damaged_segment_stops_the_reading_there(tmp_path):
    path = acz.write_small(tmp_path / "a.acz", signals=3)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    segments = []
    with AczReader(path) as reader, pytest.raises(FormatError, match="checksum"):
        segments.extend(segment for _, segment in reader.segments(acz.make_coder()))
    assert all(isinstance(one.tokens.grids[0], np.ndarray) for one in segments)
