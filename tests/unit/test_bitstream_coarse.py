"""Statistics on the coarse grid: what is written is read, by two readers, and how far the grid is."""

from __future__ import annotations

import struct
from itertools import accumulate
from pathlib import Path

import acz_files as acz
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from independent_fields import Fields, RangeDecoder

from anycodec.bitstream.coarse import coarse, pack_coarse, read_coarse
from anycodec.bitstream.container import AczReader, AczWriter, SegmentData
from anycodec.bitstream.fields import Damaged, FieldReader
from anycodec.types import Affine


def statistics(seed: int, rows: int, channels: int, size: float, spread: float) -> Affine:
    rng = np.random.default_rng(seed)
    scale = size * 2.0 ** (spread * rng.normal(size=(rows, channels)).cumsum(axis=0).clip(-20, 20))
    shift = size * 3 * rng.normal(size=(rows, channels)).cumsum(axis=0)
    return Affine(shift.astype(np.float32), scale.astype(np.float32))


ANY = st.builds(
    statistics, st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 3),
    st.sampled_from([1e-20, 1e-3, 1.0, 85.0, 1e9]), st.sampled_from([0.0, 0.05, 1.0]),
)  # fmt: skip


@given(ANY)
@settings(max_examples=60)
def test_what_is_put_on_the_grid_is_read(affine: Affine) -> None:
    placed = coarse(affine)
    data = pack_coarse(placed)
    assert data is not None
    fields = FieldReader(data)
    found = read_coarse(fields, *placed.shift.shape)
    fields.finish()
    np.testing.assert_array_equal(found.scale, placed.scale)
    np.testing.assert_array_equal(found.shift, placed.shift)
    again = coarse(placed)
    np.testing.assert_array_equal(again.shift, placed.shift)


@given(ANY)
@settings(max_examples=60)
def test_the_grid_is_near(affine: Affine) -> None:
    """Scales within 1/32 octave, shifts within 1/32 of the scale and the rounding of float32."""
    placed = coarse(affine)
    ratio = placed.scale.astype(float) / affine.scale
    assert np.abs(np.log2(ratio)).max() <= 1 / 32 + 1e-6
    off = np.abs(placed.shift.astype(float) - affine.shift)
    assert (off <= placed.scale / 32 * 1.001 + np.abs(affine.shift) * 2.0**-22).all()


def decode_by_the_specification(data: bytes, rows: int, channels: int) -> tuple[list, list]:
    """Shifts and scales of each row, from FORMAT.md."""
    fields = Fields(data)
    n = rows * channels
    if rows == 1:
        pairs = [(signed(fields.uint()), signed(fields.uint())) for _ in range(channels)]
        a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    else:
        decoder = RangeDecoder(fields.blob())
        bits = "".join(f"{byte:08b}" for byte in fields.blob())
        both = []
        for _ in range(2):
            weights, values, block, learned = [8] * 43, [], [], 0
            for i in range(n):
                block.append(decoder.symbol(weights))
                if len(block) == min(1024, max(16, learned)) or i == n - 1:
                    for one in block:
                        weights[one] += 32
                    learned, values, block = learned + len(block), values + block, []
            both.append(values)
        decoder.finish()
        found = []
        for values in both:
            found.append([])
            for symbol in values:
                e = symbol - 12
                u, bits = (symbol, bits) if symbol < 16 else (2**e + int(bits[:e], 2), bits[e:])
                found[-1].append(signed(u))
        assert set(bits) <= {"0"}
        a, b = found
    assert fields.at == len(data)
    scales = [[] for _ in range(channels)]
    shifts = [[] for _ in range(channels)]
    for c in range(channels):
        steps = list(accumulate(a[c::channels])) if rows > 1 else [a[c]]
        position = 0.0
        for step, place in zip(steps, b[c::channels] if rows > 1 else [b[c]], strict=True):
            s = 2.0 ** (step // 16) * round(2 ** (23 + step % 16 / 16)) / 2**23
            position += place * (s / 16)
            scales[c].append(s)
            shifts[c].append(struct.unpack("<f", struct.pack("<f", position))[0])
    return shifts, scales


def signed(u: int) -> int:
    return u // 2 if u % 2 == 0 else -(u + 1) // 2


@pytest.mark.parametrize("rows", [1, 2, 17, 900])
def test_the_specification_says_the_same(rows: int) -> None:
    placed = coarse(statistics(rows, rows, 2, 5.0, 0.3))
    data = pack_coarse(placed)
    assert data is not None
    shifts, scales = decode_by_the_specification(data, rows, 2)
    np.testing.assert_array_equal(np.array(scales).T, placed.scale)
    np.testing.assert_array_equal(np.array(shifts).T, placed.shift)


def test_what_the_grid_does_not_reach_stays_as_it_is() -> None:
    far = Affine(np.array([[3e38]], np.float32), np.array([[1e-3]], np.float32))
    assert coarse(far) is far
    assert pack_coarse(far) is None


@given(st.binary(max_size=60), st.integers(1, 40), st.integers(1, 3))
@settings(max_examples=200)
def test_garbage(data: bytes, rows: int, channels: int) -> None:
    try:
        found = read_coarse(FieldReader(data), rows, channels)
    except Damaged:
        return
    assert np.isfinite(found.shift).all()
    assert (found.scale > 0).all()


@pytest.mark.parametrize("rows", [1, 2])
def test_files_with_coarse_statistics(tmp_path: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    plain = acz.make_segment(rng)
    placed = coarse(statistics(1, rows, 2, 80.0, 0.1))
    path = tmp_path / "a.acz"
    with AczWriter(path, acz.make_header(coarse=True), acz.make_coder()) as writer:
        writer.add(acz.make_info(0), SegmentData(start=0, length=48, tokens=plain.tokens, affine=placed))
        writer.add(
            acz.make_info(0), SegmentData(start=48, length=48, tokens=plain.tokens, affine=plain.affine)
        )
    with AczReader(path) as reader:
        assert reader.version == 2
        assert reader.header.requires == ["statistics"]
        first, second = (segment for _, segment in reader.segments(acz.make_coder()))
    np.testing.assert_array_equal(first.affine.shift, placed.shift)
    np.testing.assert_array_equal(first.affine.scale, placed.scale)
    np.testing.assert_array_equal(second.affine.scale, plain.affine.scale)  # beside the grid: as they are
