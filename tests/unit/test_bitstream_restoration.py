"""RESTORATION parts: by FORMAT.md alone, damaged, and the same on any number of threads."""

import json
import struct
from pathlib import Path

import acz_files as acz
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from independent_fields import Fields, crc32c, header_of
from independent_reader import sections
from independent_restoration import decode_stream, restored, sint
from test_bitstream_damage import HEADER, SEGMENT, file_of, section, split

from anycodec import bitstream
from anycodec.bitstream import lattice, residual, restoration
from anycodec.bitstream.container import AczReader, AczWriter, Bound, SegmentData
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.grid import Decimal, Float, Grid
from anycodec.bitstream.listed import Listed
from anycodec.bitstream.network import Network
from anycodec.errors import FormatError
from anycodec.types import FileInfo, SignalInfo, Tokens

FORMAT = Path(bitstream.__file__).parent / "FORMAT.md"
GOLDEN = Path(__file__).parents[1] / "golden" / "acz"
SAMPLES = [3, 4, 4, 5, 7, 6, 5, 5, 1]
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)


def layers_of(network: Network) -> list:
    return [(w.astype(int).tolist(), b.astype(int).tolist()) for w, b in network.layers]


STREAMS = {"TC": (90, 2), "HWC": (7, 9, 3), "THWC": (3, 5, 6, 1)}


@pytest.mark.parametrize("axes", list(STREAMS))
@pytest.mark.parametrize("size", [1, 40, 3000])
@pytest.mark.parametrize("with_reference", [False, True])
def test_streams_by_the_specification(axes, size, with_reference):
    rng = np.random.default_rng(size)
    values = np.rint(rng.normal(0, size, STREAMS[axes]).cumsum(axis=0)).astype(np.int64) + 17
    reference = values // 5 * 5 if with_reference else None
    stream = residual.encode(values, axes, reference)
    np.testing.assert_array_equal(decode_stream(stream, axes, values.shape, reference), values)


def test_streams_of_networks_by_the_specification():
    """A file with a network for each of two segments, as anycodec wrote them once."""
    expected = np.array(json.loads((GOLDEN / "v2_networks.json").read_text())).reshape(2, 600, 1)
    with AczReader(GOLDEN / "v2_networks.acz") as reader:
        segments = [segment for _, segment in reader.segments(acz.make_coder())]
        models = {number: layers_of(network) for number, network in reader.models.items()}
        for segment, values in zip(segments, expected, strict=True):
            own = restoration.unpack(segment.restoration, "TC", (600, 1), reader.models)
            np.testing.assert_array_equal(own, values)
            part = Fields(segment.restoration)
            part.byte(), part.blob()
            np.testing.assert_array_equal(decode_stream(part.rest(), "TC", (600, 1), models=models), values)
    assert len(models) == 2


def example() -> bytes:
    text = FORMAT.read_text(encoding="utf-8").split("### Example")[1].split("## Limits")[0]
    block = text.split("```")[1]
    return bytes.fromhex("".join(line.split("#")[0] for line in block.splitlines()))


def write_example(path: Path) -> None:
    """What FORMAT.md shows."""
    header = acz.make_header(
        (2,), program="anycodec", source_name="a.npy", source={}, codec={"fingerprint": ""},
        file=FileInfo(path="a.npy", format="array", n_signals=1), bound=Bound(max_error=0),
    )  # fmt: skip
    values = np.array(SAMPLES)[:, None]
    info = SignalInfo(id="", axes="TC", shape=(9, 1), dtype="int16")
    data = restoration.pack_plain(values, Grid((Decimal(0, 0, 0),)), "TC")
    tokens = Tokens((np.zeros(0, np.int64),), (2,))
    with AczWriter(path, header, AdaptiveCoder([np.ones(2, np.int64)])) as writer:
        writer.add(info, SegmentData(start=0, length=9, tokens=tokens, restoration=data))


def test_the_example_of_the_specification_decodes(tmp_path):
    (tmp_path / "a.acz").write_bytes(example())
    with AczReader(tmp_path / "a.acz") as reader:
        assert reader.version == 2
        assert reader.header.bound.lossless
        ((info, segment),) = reader.segments(AdaptiveCoder([np.ones(2, np.int64)]))
    values = restoration.unpack(segment.restoration, info.axes, (9, 1), {})
    assert values[:, 0].tolist() == SAMPLES


def test_the_example_by_the_specification():
    data = example()
    found = sections(data)
    assert data[8:12] == b"\2\0\0\0"
    assert [kind for kind, _, _ in found] == [7, 2, 3, 5]
    header = header_of(*found[0][::2])
    assert header["requires"] == ["restoration"]
    assert header["bound"] == {"max_error": 0.0, "unit": "native"}
    fields = Fields(found[2][2])
    assert [fields.uint() for _ in range(4)] == [0, 0, 9, 0]  # signal, start, length, no windows
    assert (fields.byte(), fields.blob()) == (0, b"\0")  # one level without axes and tokens
    assert [fields.byte() for _ in range(3)] == [0, 0, 0]  # statistics, mask, attachments
    assert (fields.uint(), fields.byte()) == (1, 1)  # one part, a RESTORATION
    part = Fields(fields.blob())
    assert fields.at == len(found[2][2])
    assert part.byte() == 0  # plain
    side = Fields(part.blob())
    grid = Fields(side.packed(side.uint()))
    assert [grid.byte(), grid.byte(), grid.uint(), sint(grid)] == [0, 0, 0, 0]
    values = decode_stream(part.rest(), "TC", (9, 1))
    assert values[:, 0].tolist() == SAMPLES
    assert struct.unpack("<I", side.rest())[0] == crc32c(values.astype("<i8").tobytes())


# --- damage -------------------------------------------------------------------------------------


def small_network() -> Network:
    rng = np.random.default_rng(1)
    sizes = [(4, 20), (4, 4), (9, 4)]
    layers = [
        (rng.integers(-9, 10, size).astype("f4"), rng.integers(-99, 100, size[0]).astype("f4"))
        for size in sizes
    ]
    return Network((layers[0], layers[1], layers[2]))


def steps_of_meters() -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers of two channels [T 2], few of those in their range, and how many each has."""
    rng = np.random.default_rng(5)
    levels = [np.sort(rng.choice(9000, count, replace=False)) - 4000 for count in (40, 25)]
    walks = [np.abs(rng.integers(-1, 2, 1200).cumsum()) % len(one) for one in levels]
    return np.stack([one[walk] for one, walk in zip(levels, walks, strict=True)], axis=1), walks[0]


def test_lists_of_numbers_by_the_specification():
    whole, ranks = steps_of_meters()
    plain = Grid((Decimal(0, 0, 2), Decimal(100, 0, 0)))
    numbers = whole - [0, 100]
    grid, listed = plain.listed(numbers)
    assert np.array_equal(listed[:, 0], np.unique(ranks, return_inverse=True)[1])
    part = restoration.pack_regression(listed, grid)
    assert len(part) < 0.7 * len(restoration.pack_regression(numbers, plain))
    expected = np.stack([whole[:, 0] / 100, whole[:, 1]], axis=1)
    assert np.array_equal(restoration.unpack(part, "TC", whole.shape, {}), expected)
    assert np.array_equal(restored(part, "TC", whole.shape), expected)


@pytest.mark.parametrize(
    ("grid", "numbers"),
    [
        (Decimal(0, 0, 0), np.arange(3000) % 40),  # dense
        (Decimal(0, 0, 0), np.arange(3000) * 10),  # each occurs once
        (Decimal(0, 1, 0, -100, 10**6), np.arange(3000) % 40 * 10),  # within a bound
        (Float(0.0, 1.0, 2), np.arange(3000) % 40 * 10),
    ],
)
def test_what_is_not_listed(grid, numbers):
    assert Grid((grid,)).listed(numbers[:, None]) is None


def test_lists_out_of_bounds_are_refused():
    whole, _ = steps_of_meters()
    grid, listed = Grid((Decimal(0, 0, 0),) * 2).listed(whole)
    part = restoration.pack_codec(listed, grid, "TC", listed.astype(float))
    with pytest.raises(Damaged, match="list of numbers where a codec"):
        restoration.unpack(part, "TC", whole.shape, {}, whole.astype(float))
    for places, gaps in ((16, [1]), (0, []), (0, [1] * (2**16 + 1)), (0, [5, 2**61])):
        fields = FieldWriter()
        fields.byte(places)
        fields.uint(len(gaps))
        for number, gap in enumerate(gaps):
            fields.uint(gap) if number else fields.sint(gap)
        with pytest.raises(Damaged):
            Listed.read(FieldReader(bytes(fields.data)), 15, 2**61)


def write_within(path: Path) -> Path:
    """A plain, a raw and a codec segment, and a model."""
    rng = np.random.default_rng(0)
    values = rng.integers(-40, 40, (48, 2)).cumsum(axis=0)
    grid = Grid((Decimal(0, 1, 0, -(2**20), 2**20), Float(0.25, 0.5, 2)))
    numbers = values // 3
    parts = [
        restoration.pack_plain(numbers, grid, "TC"),
        restoration.pack_raw(values.astype(np.float32)),
        restoration.pack_codec(numbers, grid, "TC", numbers + rng.normal(size=values.shape)),
    ]
    with AczWriter(path, acz.make_header(bound=Bound(max_error=1)), acz.make_coder()) as writer:
        writer.add_model(small_network())
        for number, part in enumerate(parts):
            segment = acz.make_segment(rng, start=48 * number)
            writer.add(acz.make_info(0), SegmentData(
                start=segment.start, length=48, tokens=segment.tokens, affine=segment.affine,
                restoration=part,
            ))  # fmt: skip
    return path


def read(path: Path) -> list[np.ndarray]:
    with AczReader(path) as reader:
        found = []
        for info, segment in reader.segments(acz.make_coder()):
            codec = np.zeros((segment.length, info.n_channels))
            try:
                data = segment.restoration
                found.append(restoration.unpack(data, info.axes, (segment.length, 2), reader.models, codec))
            except Damaged as error:
                raise FormatError(str(error)) from error
    return found


@pytest.mark.parametrize("bits", [0x01, 0xFF])
def test_one_byte_flipped_anywhere(tmp_path, bits):
    good = write_within(tmp_path / "good.acz").read_bytes()
    for offset in range(0, len(good), 3):
        damaged = bytearray(good)
        damaged[offset] ^= bits
        (tmp_path / "bad.acz").write_bytes(damaged)
        with pytest.raises(FormatError), AczReader(tmp_path / "bad.acz") as reader:
            reader.verify()


@given(st.integers(0, 9), st.integers(0, 2**16), st.binary(min_size=1, max_size=3))
@same_folder
def test_changed_payloads_with_repaired_checksums(tmp_path, number, place, change):
    """Whoever repairs the sections' checksums is found out by those of the values, or changed others."""
    parts = split(write_within(tmp_path / "good.acz").read_bytes())
    kind, payload = parts[number % len(parts)]
    at = place % (len(payload) + 1)
    parts[number % len(parts)] = kind, payload[:at] + change + payload[at + len(change) :]
    (tmp_path / "bad.acz").write_bytes(file_of(*(section(*part) for part in parts), version=2))
    try:
        found = read(tmp_path / "bad.acz")
    except FormatError:
        return
    assert len(found) == 3


@given(st.binary(max_size=200), st.integers(0, 2))
@settings(max_examples=150)
def test_garbage_parts(data, path):
    codec = np.zeros((9, 1))
    try:
        found = restoration.unpack(bytes([path]) + data, "TC", (9, 1), {}, codec)
    except Damaged:
        return
    assert found.shape == (9, 1)


def test_parts_of_other_kinds(tmp_path):
    """Those above 127 are passed over, the others refused by name."""
    parts = split(write_within(tmp_path / "good.acz").read_bytes())
    place = next(i for i, (kind, _) in enumerate(parts) if kind == SEGMENT)
    kind, payload = parts[place]
    info = acz.make_info(0)
    at = payload.rindex(restoration.pack_raw(np.zeros((0, 2)))[:0] or b"\1\1")
    for extra, refused in ((b"\x02\xc8\x03abc\x01", False), (b"\x02\x07\x03abc\x01", True)):
        changed = payload[:at] + extra + payload[at + 2 :]
        from anycodec.bitstream.segment import unpack_segment

        if refused:
            with pytest.raises(Damaged, match="part of kind 7"):
                unpack_segment(0, info, 1, changed, version=2)
        else:
            assert unpack_segment(0, info, 1, changed, version=2).restoration
    assert kind == SEGMENT


def test_needs_that_are_not_known_are_refused_by_name(tmp_path):
    parts = split(write_within(tmp_path / "good.acz").read_bytes())
    document = header_of(*parts[0])
    document["requires"].append("later")
    from test_bitstream_damage import json_payload

    parts[0] = HEADER, json_payload(document)
    (tmp_path / "bad.acz").write_bytes(file_of(*(section(*part) for part in parts), version=2))
    with pytest.raises(FormatError, match="requires 'later'; a newer anycodec"):
        AczReader(tmp_path / "bad.acz")


# --- another machine ----------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.floats(-1, 1), st.integers(0, 3))
@settings(max_examples=40)
def test_a_codec_whose_floats_differ_a_little_restores_the_same(seed, drift, exponent):
    """Up to 2^-11 of the coarse grid, everywhere and also at the borders between its numbers."""
    rng = np.random.default_rng(seed)
    scale = 10.0**exponent
    places = np.rint(rng.normal(0, 10 * scale, (400, 1)) * 8) / 16  # many lie on a border
    values = np.rint(places + rng.normal(0, scale, places.shape)).astype(np.int64)
    grid = Grid((Decimal(0, 0, 0),))
    part = restoration.pack_codec(values, grid, "TC", places)
    elsewhere = places + drift * 2.0**-11.01 * rng.choice([-1, 1], places.shape)
    np.testing.assert_array_equal(restoration.unpack(part, "TC", (400, 1), {}, elsewhere), values)


def test_a_codec_whose_floats_differ_more_is_named():
    values = np.arange(500)[:, None] % 37
    part = restoration.pack_codec(values, Grid((Decimal(0, 0, 0),)), "TC", values + 0.25)
    with pytest.raises(restoration.Mismatch, match="other values here"):
        restoration.unpack(part, "TC", (500, 1), {}, values + 0.75)


def test_the_length_of_lanes_is_free(monkeypatch):
    """A reader takes the file's, whatever it would choose itself."""
    values = np.random.default_rng(0).integers(-9, 9, (5000, 2)).cumsum(axis=0)
    for shortest in (64, 700, 5000):
        monkeypatch.setattr(lattice, "SHORTEST_LANE", shortest)
        stream = residual.encode(values, "TC")
        monkeypatch.undo()
        np.testing.assert_array_equal(residual.decode(stream, "TC", values.shape), values)
