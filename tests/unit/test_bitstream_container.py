import errno
import json
from dataclasses import replace

import acz_files as acz
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from anycodec.bitstream.container import AczReader, AczWriter, SegmentData
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.errors import FormatError, ResourceError
from anycodec.types import Affine, FileInfo, SignalInfo, Tokens

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
EXTENT = st.integers(0, 5)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | NUMBER | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
META = st.dictionaries(st.text(max_size=6), JSON, max_size=4)


@st.composite
def infos(draw):
    axes = draw(st.sampled_from(["TC", "HWC", "THWC"]))
    shape = tuple(draw(st.integers(0 if axis == "T" else 1, 5)) for axis in axes)
    return SignalInfo(
        id=draw(st.text(max_size=12) | st.uuids().map(str) | st.uuids().map(lambda one: str(one).upper())),
        axes=axes,
        shape=shape,
        dtype=draw(st.sampled_from(["int16", "uint8", "float64", "bool"])),
        rate=draw(st.none() | st.floats(0.1, 1e6)),
        unit=draw(st.sampled_from(["", "pA", "°C"])),
        channels=tuple(draw(st.lists(st.text(max_size=4), max_size=3))),
        value_range=draw(st.none() | st.just((0.0, 255.0))),
        label=draw(st.none() | st.text(max_size=4)),
        meta=draw(META),
    )


@st.composite
def segments(draw, info, sizes):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    windows = draw(EXTENT)
    grids = tuple(rng.integers(0, size, (windows, *draw(st.lists(EXTENT, max_size=3)))) for size in sizes)
    length = 1 if info.axes == "HWC" else draw(EXTENT)
    shape = info.shape if info.axes == "HWC" else (length, *info.shape[1:])
    rows, channels = draw(st.sampled_from([1, windows])), draw(st.integers(1, 3))
    shift, scale = rng.normal(size=(rows, channels)), rng.uniform(1e-6, 9, (rows, channels))
    return SegmentData(
        start=draw(st.integers(0, 2**40)),
        length=length,
        tokens=Tokens(grids, sizes),
        affine=draw(st.none() | st.just(Affine(shift.astype("f4"), scale.astype("f4")))),
        mask=draw(st.none() | st.just(rng.random(shape) > draw(st.floats(0, 1)))),
        attachments=draw(st.dictionaries(st.text(max_size=5), st.binary(max_size=50), max_size=3)),
    )


@given(st.data())
@same_folder
def test_whatever_is_written_is_read(tmp_path, data):
    sizes = tuple(data.draw(st.lists(st.integers(2, 300), min_size=1, max_size=3)))
    header = acz.make_header(
        sizes, file=FileInfo(path="x", format="table", n_signals=3, meta=data.draw(META)), source_name="x"
    )
    written = []
    for info in data.draw(st.lists(infos(), max_size=4, unique_by=lambda info: info.id)):
        written += [(info, data.draw(segments(info, sizes))) for _ in range(data.draw(st.integers(1, 3)))]
    path = tmp_path / "file.acz"
    with AczWriter(path, header, acz.make_coder(sizes)) as writer:
        for info, segment in written:
            writer.add(info, segment)
    with AczReader(path) as reader:
        assert reader.header == header
        found = list(reader.segments(acz.make_coder(sizes)))
        assert sum(reader.sizes().values()) == path.stat().st_size
        assert min(reader.sizes().values()) >= 0
    assert [info for info, _ in found] == [info for info, _ in written]
    for (_, segment), (_, expected) in zip(found, written, strict=True):
        acz.assert_same_segment(segment, expected)


def test_totals_of_a_known_file(tmp_path):
    with AczReader(acz.write_small(tmp_path / "a.acz", sizes=(64, 8))) as reader:
        totals = reader.totals
    assert (totals.signals, totals.segments, totals.windows) == (2, 4, 8)
    assert totals.tokens == 8 * 4 + 8 * 8
    assert (totals.samples, totals.values, totals.pixels) == (192, 384, 0)
    assert totals.native_bytes == 768
    assert totals.attachments > 4 * 60 > totals.statistics > 4 * 16


def test_pixels_are_counted(tmp_path):
    video = acz.make_info(0, id="", axes="THWC", shape=(9, 10, 20, 3), dtype="uint8")
    segment = SegmentData(start=3, length=2, tokens=Tokens((np.zeros((2, 1, 1), np.int64),), (64,)))
    with AczWriter(tmp_path / "a.acz", acz.make_header(), acz.make_coder()) as writer:
        writer.add(video, segment)
    with AczReader(tmp_path / "a.acz") as reader:
        assert (reader.totals.samples, reader.totals.pixels, reader.totals.values) == (2, 400, 1200)


def test_many_signals_fill_several_index_sections(tmp_path):
    count = 5000
    tokens = Tokens((np.zeros((1, 2), np.int64),), (64,))
    with AczWriter(tmp_path / "a.acz", acz.make_header(), acz.make_coder()) as writer:
        for number in range(count):
            writer.add(
                replace(acz.make_info(0), id=str(number)), SegmentData(start=0, length=1, tokens=tokens)
            )
    with AczReader(tmp_path / "a.acz") as reader:
        assert [info.id for info, _ in reader.records()] == [str(number) for number in range(count)]
        assert reader.totals.signals == count


def test_reads_that_differ_in_a_few_numbers_cost_few_bytes(tmp_path):
    rng = np.random.default_rng(0)

    def read(number):
        meta = {
            "read_number": int(rng.integers(1e5)), "start": int(rng.integers(1e9)), "well": 1,
            "channel": int(rng.integers(3000)), "end_reason": "signal_positive",
            "num_minknow_events": int(rng.integers(1e5)),
            "median_before": float(f"{rng.uniform(150, 250):.7g}"), "calibration_scale": 0.18706985,
            "calibration_offset": -265.0,
        }  # fmt: skip
        return acz.make_info(number, shape=(int(rng.integers(1e6)), 1), channels=("current",), meta=meta)

    tokens = Tokens((np.zeros((1, 2), np.int64),), (64,))
    with AczWriter(tmp_path / "a.acz", acz.make_header(), acz.make_coder()) as writer:
        for number in range(200):
            writer.add(read(number), SegmentData(start=0, length=1, tokens=tokens))
    with AczReader(tmp_path / "a.acz") as reader:
        assert reader.totals.metadata / 200 < 100


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(
    ("failure", "seen"),
    [
        (Interrupted(), Interrupted),
        (OSError(errno.ENOSPC, "No space left on device"), ResourceError),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), ResourceError),
    ],
)
def test_nothing_is_left_behind_when_writing_fails(tmp_path, failure, seen):
    def write():
        with AczWriter(tmp_path / "a.acz", acz.make_header(), acz.make_coder()) as writer:
            writer.add(acz.make_info(0), acz.make_segment(np.random.default_rng(0)))
            raise failure

    with pytest.raises(seen):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_codec_is_refused(tmp_path):
    with AczReader(acz.write_small(tmp_path / "a.acz")) as reader:
        reader.require_codec(acz.FINGERPRINT)
        with pytest.raises(FormatError, match=r"wrong codec.*0123456789ab.*ffffffffffff") as caught:
            reader.require_codec("f" * 64)
        assert "/runs/x" in str(caught.value)
        with pytest.raises(FormatError, match="wrong codec"):
            list(reader.segments(acz.make_coder((65,))))


def test_tokens_that_do_not_fit_are_refused(tmp_path):
    grid = np.zeros((2, 3), np.int64)
    with AczWriter(tmp_path / "a.acz", acz.make_header(), acz.make_coder()) as writer:
        for tokens, message in [
            (Tokens((grid + 64,), (64,)), "not in"),
            (Tokens((grid,), (65,)), "codebooks"),
            (Tokens((grid, grid), (64, 64)), "codebooks"),
        ]:
            with pytest.raises(ValueError, match=message):
                writer.add(acz.make_info(0), SegmentData(start=0, length=1, tokens=tokens))
    with pytest.raises(ValueError, match="codebooks"):
        AczWriter(tmp_path / "b.acz", acz.make_header(), AdaptiveCoder([np.ones(63, np.int64)]))


def test_statistics_and_masks_that_do_not_fit_are_refused(tmp_path):
    tokens = Tokens((np.zeros((2, 3), np.int64),), (64,))
    good = np.ones((1, 2), np.float32)
    with AczWriter(tmp_path / "a.acz", acz.make_header(), acz.make_coder()) as writer:
        for affine in (
            Affine(good, 0 * good),
            Affine(good * np.inf, good),
            Affine(*[np.ones((3, 2), "f4")] * 2),
        ):
            with pytest.raises(ValueError, match="statistics"):
                writer.add(acz.make_info(0), SegmentData(start=0, length=1, tokens=tokens, affine=affine))
        with pytest.raises(ValueError, match="mask"):
            writer.add(
                acz.make_info(0), SegmentData(start=0, length=4, tokens=tokens, mask=np.zeros((3, 2), bool))
            )


def test_metadata_with_nan_is_refused(tmp_path):
    segment, info = acz.make_segment(np.random.default_rng(0)), acz.make_info(0, meta={"x": float("nan")})
    writer = AczWriter(tmp_path / "a.acz", acz.make_header(), acz.make_coder())
    with writer, pytest.raises(ValueError, match="JSON"):
        writer.add(info, segment)


@pytest.mark.parametrize("changes", [{"dtype": ">f4"}, {"dtype": "object"}, {"shape": (3,)}])
def test_signals_that_could_not_be_read_are_not_written(tmp_path, changes):
    segment, info = acz.make_segment(np.random.default_rng(0)), acz.make_info(0, **changes)
    writer = AczWriter(tmp_path / "a.acz", acz.make_header(), acz.make_coder())
    with writer, pytest.raises(ValueError, match="a signal of"):
        writer.add(info, segment)


def test_strange_file_names_survive(tmp_path):
    name = "r\udcffé\n\x1b[31m.csv"
    file = FileInfo(path=name, format="table", n_signals=0)
    with AczWriter(tmp_path / "a.acz", acz.make_header(source_name=name, file=file), acz.make_coder()):
        pass
    with AczReader(tmp_path / "a.acz") as reader:
        assert reader.header.source_name == name
        assert list(reader.records()) == []
        assert json.dumps(reader.header.source)
