"""RESTORATION parts: by FORMAT.md alone, damaged, and the same on any number of threads."""

import json
import math
import struct
from itertools import pairwise
from pathlib import Path

import acz_files as acz
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from test_bitstream_damage import SEGMENT, file_of, section, split
from test_bitstream_format import Fields, RangeDecoder, crc32c, inflate, sections

from anycodec import bitstream
from anycodec.bitstream import lattice, residual, restoration
from anycodec.bitstream.container import AczReader, AczWriter, Bound, SegmentData
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.grid import Decimal, Float, Grid
from anycodec.bitstream.network import Network
from anycodec.errors import FormatError
from anycodec.types import FileInfo, SignalInfo, Tokens
from anycodec.workflows.predictors import NAMES, builtin

FORMAT = Path(bitstream.__file__).parent / "FORMAT.md"
SAMPLES = [3, 4, 4, 5, 7, 6, 5, 5, 1]
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)


# --- a reader from FORMAT.md alone --------------------------------------------------------------

ENDS = [*range(13), *range(14, 29, 2), 32, 36, 40, 44, 52, 60]
TAILS = [(4096, 0), (3968, 128), (3584, 512), (3072, 1024)]


def sint(fields: Fields) -> int:
    number = fields.uint()
    return number // 2 if number % 2 == 0 else -(number + 1) // 2


def cut(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


class Bits:
    def __init__(self, data: bytes) -> None:
        self.text = "".join(f"{byte:08b}" for byte in data)

    def take(self, count: int) -> int:
        taken, self.text = self.text[:count], self.text[count:]
        return int(taken, 2) if taken else 0


class Values:
    """v, e and r by place; what does not exist is 0."""

    def __init__(self, axes: str, shape: tuple, lane: int, reference: list | None) -> None:
        self.axes, self.shape, self.lane, self.reference = axes, shape, lane, reference
        self.v: dict = {}
        self.e: dict = {}

    def order(self) -> list:
        places = list(np.ndindex(*self.shape))
        return sorted(places, key=lambda place: (self.step(place), place))

    def step(self, place: tuple) -> int:
        if self.axes == "TC":
            return place[0] % self.lane
        *t, h, w, c = place
        return (w + 2 * h + 4 * (t[0] if t else 0)) * self.shape[-1] + c

    def neighbours(self, place: tuple) -> list:
        if self.axes == "TC":
            t, c = place
            return [(t - i, c) if i <= t % self.lane else None for i in range(1, 21)]
        *t, h, w, c = place
        frames = self.shape[0] if t else 1
        near = [(0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0)]
        found = [(*t, h - a, w - b, c) for a, b in near]
        if self.shape[-1] > 1:
            found += [self.back((*t, h - a, w - b, c), 1) for a, b in [(0, 0), (0, 1), (1, 0)]]
            found += [self.back(place, 2)]
        if frames > 1:
            found += [(t[0] - 1, h - a, w - b, c) for a, b in [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]]
        return found

    def back(self, place: tuple, numbers: int) -> tuple:
        *t, h, w, c = place
        row, pixel = divmod(w * self.shape[-1] + c - numbers, self.shape[-1])
        return (*t, h, row, pixel)

    def activity(self, place: tuple) -> int:
        near = self.neighbours(place)
        if self.axes == "TC":
            pairs = list(zip(near, [4, 3, 2, 2, 1, 1, 1, 1], strict=False))
        else:
            pairs = list(zip(near, [4, 4, 2, 2], strict=False))
            if self.shape[-1] > 1:
                pairs.append((near[6], 4))
            if self.axes == "THWC" and self.shape[0] > 1:
                pairs.append((near[-5], 2))
        return sum(weight * abs(self.e.get(one, 0)) for one, weight in pairs)

    def planes(self, place: tuple) -> list:
        if self.reference is None:
            return []
        moves = {"TC": [(0, 1), (0, -1)], "HWC": [(1, 1), (0, 1)], "THWC": [(2, 1), (1, 1)]}[self.axes]
        found = [self.reference[place]]
        for axis, by in moves:
            moved = list(place)
            moved[axis] = cut(place[axis] - by, 0, self.shape[axis] - 1)
            found.append(self.reference[tuple(moved)])
        return [int(one) - self.bases[place[-1]] for one in found]


def decode_stream(data: bytes, axes: str, shape: tuple, reference=None, models=None) -> np.ndarray:
    fields = Fields(data)
    bases = [sint(fields) for _ in range(shape[-1])]
    kind = fields.byte()
    known = Values(axes, shape, fields.uint() if axes == "TC" else 0, reference)
    known.bases = bases
    if kind == 0:
        expected, h = linear(fields, known, 0 if reference is None else 3)
    else:
        expected, h = by_network(fields, known, models)
    reach = fields.uint()
    decoder, bits = RangeDecoder(fields.blob()), Bits(fields.blob())
    unit, half = 2**h, 2**h // 2
    starts = [-60 * unit - half - 2**reach, *(-end * unit - half for end in ENDS[::-1])]
    starts += [end * unit + unit - half for end in ENDS]
    for place in known.order():
        centre, mixture = expected(place)
        weights = bucket_weights(starts, h, mixture)
        bucket = symbol(decoder, weights)
        width = 2**reach if bucket in (0, 54) else starts[bucket + 1] - starts[bucket]
        e = starts[bucket] + bits.take((width - 1).bit_length())
        known.v[place], known.e[place] = centre + e, e
    if known.v:
        decoder.finish()
    assert fields.at == len(data)
    assert set(bits.text) <= {"0"}
    found = np.zeros(shape, np.int64)
    for place, value in known.v.items():
        found[place] = value + bases[place[-1]]
    return found


def symbol(decoder: RangeDecoder, left: list[int]) -> int:
    """`RangeDecoder.symbol` takes weights; these are exact, their sum is 2^24 - 55."""
    return decoder.symbol([b - a - 1 for a, b in pairwise(left)])


def bucket_weights(starts: list[int], h: int, mixture: list) -> list[int]:
    left = [0]
    for i in range(1, 55):
        below = 0
        for mean, scale, weight in mixture:
            edge = (16 * starts[i] - 8) >> h
            t = cut((edge - mean) * round(2 ** (17 - scale / 8)) >> 10, -1536, 1535)
            below += weight * round(65536 / (1 + math.exp(-(t + 0.5) / 128)))
        left.append((below * (2**24 - 55) >> 28) + i)
    return [*left, 2**24]


def linear(fields: Fields, known: Values, planes: int):
    taps, h, tail, first, classes = (fields.byte() for _ in range(5))
    scales = list(fields.take(classes))
    inputs, channels = taps + planes + 1, known.shape[-1]
    flat = struct.unpack(f"<{channels * inputs}h", fields.take(2 * channels * inputs))

    def expected(place: tuple):
        weights = flat[place[-1] * inputs : (place[-1] + 1) * inputs]
        near = [known.v.get(one, 0) for one in known.neighbours(place)[:taps]] + known.planes(place)
        y = sum(a * v for a, v in zip(weights, near, strict=False)) + weights[-1] + 2**7 >> 8
        y = cut(y, -(2**46), 2**46)
        centre = y + 8 >> 4
        mean = y - 16 * centre >> h
        activity = known.activity(place)
        number = sum(math.isqrt(2**i) <= activity for i in range(83)) - first
        scale = scales[cut(number, 0, classes - 1)]
        heavy, light = TAILS[tail]
        return centre, [(mean, scale, heavy), (mean, min(scale + 24, 96), light)]

    return expected, h


def by_network(fields: Fields, known: Values, models: dict):
    (a, ab), (b, bb), (c, cb) = models[fields.uint()]
    level, h = fields.byte(), fields.byte()
    gain, size = round(2 ** (21 - level / 16)), round(2 ** (8 + level / 16))

    def layer(weights, bias, inputs):
        return [
            sum(w * x for w, x in zip(row, inputs, strict=True)) + y
            for row, y in zip(weights, bias, strict=True)
        ]

    def expected(place: tuple):
        v = [known.v.get(one, 0) for one in known.neighbours(place)]
        u = [cut(cut(v[20 - i] - v[0], -(2**24), 2**24) * gain >> 16, -256, 255) for i in range(1, 20)]
        hidden = [cut(x >> 6, 0, 255) for x in layer(a, ab, [*u, 2 * level])]
        hidden = [cut(x >> 6, 0, 255) for x in layer(b, bb, hidden)]
        o = layer(c, cb, hidden)
        p = [round(2 ** (12 - min(511, max(o[:3]) - x >> 6) / 32)) for x in o[:3]]
        w = [4096 * x // sum(p) for x in p]
        top = w.index(max(w))
        w[top] += 4096 - sum(w)
        mu = [x * size >> 15 for x in o[3:6]]
        x = mu[top] + 8 >> 4
        means = [cut(m - 16 * x >> h, -8191, 8191) for m in mu]
        scales = [cut((y >> 8) + 20 + level // 2 - 8 * h, 0, 96) for y in o[6:]]
        return v[0] + x, list(zip(means, scales, w, strict=True))

    return expected, h


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


@pytest.mark.parametrize("name", NAMES)
def test_streams_of_networks_by_the_specification(name):
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(500, 70, 20), 9)[:, None] + rng.normal(0, 12, (180, 1))
    values = np.rint(values).astype(np.int64)
    stream = residual.encode(values, "TC", network=(0, builtin(name)))
    found = decode_stream(stream, "TC", values.shape, models={0: layers_of(builtin(name))})
    np.testing.assert_array_equal(found, values)


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
    found = sections(data[:8] + b"\1\0\0\0" + struct.pack("<I", crc32c(data[:8] + b"\1\0\0\0")) + data[16:])
    assert data[8:12] == b"\2\0\0\0"
    assert [kind for kind, _, _ in found] == [1, 2, 3, 4, 5]
    fields = Fields(found[0][2])
    header = json.loads(inflate(*reversed((fields.uint(), fields.rest()))))
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
        writer.add_model(builtin(NAMES[0]))
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
    fields = Fields(parts[0][1])
    document = json.loads(inflate(*reversed((fields.uint(), fields.rest()))))
    document["requires"].append("prior")
    from test_bitstream_damage import json_payload

    parts[0] = parts[0][0], json_payload(document)
    (tmp_path / "bad.acz").write_bytes(file_of(*(section(*part) for part in parts), version=2))
    with pytest.raises(FormatError, match="requires 'prior'; a newer anycodec"):
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
