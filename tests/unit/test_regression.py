"""Streams of regressions: by FORMAT.md alone, the same for ever, damaged, and how small they are."""

import json
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from independent_restoration import decode_stream
from scipy.signal import lfilter

from anycodec.bitstream import regression, residual, restoration
from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.grid import Decimal, Grid
from anycodec.bitstream.limits import LARGEST_GRID
from anycodec.workflows.predictors import plain

GOLDEN = Path(__file__).parents[1] / "golden" / "acz" / "regression.json"


def walks(n: int, channels: int, seed: int = 0, scale: int = 1) -> np.ndarray:
    """Random walks [n channels], each with twice the one before in it."""
    values = np.random.default_rng(seed).integers(-9, 10, (n, channels)).cumsum(axis=0) * scale
    values[:, 1:] += 2 * values[:, :-1]
    return values


@pytest.mark.parametrize(("channels", "scale"), [(1, 1), (3, 1), (3, 5000), (8, 1)])
def test_streams_by_the_specification(channels, scale):
    values = walks(20, channels, scale=scale)
    values[9, 0] += 2**33
    values[15, -1] -= 2**20
    found = decode_stream(residual.encode_regression(values), "TC", values.shape)
    np.testing.assert_array_equal(found, values)


def test_a_stream_of_before_is_read_and_written_again():
    golden = json.loads(GOLDEN.read_text())
    values, stream = np.array(golden["values"]), bytes.fromhex(golden["stream"])
    np.testing.assert_array_equal(residual.decode(stream, "TC", values.shape), values)
    assert residual.encode_regression(values) == stream


@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(1, 9), st.integers(0, 40), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_values_return(seed, n, channels, bits, walk):
    values = np.random.default_rng(seed).integers(-(2**bits), 2**bits + 1, (n, channels))
    if walk:
        values = np.clip(values.cumsum(axis=0), -LARGEST_GRID, LARGEST_GRID)
    stream = residual.encode_regression(values)
    np.testing.assert_array_equal(residual.decode(stream, "TC", values.shape), values)


@pytest.mark.parametrize("kind", ["zeros", "extremes", "rare", "equal columns", "huge and small"])
def test_what_is_hard_for_least_squares_returns(kind):
    rng = np.random.default_rng(0)
    shape = (6000, 3)
    values = {
        "zeros": lambda: np.zeros(shape, np.int64),
        "extremes": lambda: rng.choice([-LARGEST_GRID, LARGEST_GRID], shape),
        "rare": lambda: (rng.random(shape) < 0.001) * rng.integers(-(2**35), 2**35, shape),
        "equal columns": lambda: np.repeat(rng.integers(-9, 9, (6000, 1)).cumsum(axis=0), 3, axis=1),
        "huge and small": lambda: rng.integers(-3, 4, shape) * np.array([1, 2**38, 0]),
    }[kind]()
    stream = residual.encode_regression(values)
    np.testing.assert_array_equal(residual.decode(stream, "TC", values.shape), values)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.2), (1.6, -0.8), (0.0, 0.0)])
def test_an_autoregression_costs_the_entropy_of_its_noise(a, b):
    """x_t = a x_(t-1) + b x_(t-2) + noise of deviation 30: log2(30 sqrt(2 pi e)) = 6.954 bits."""
    noise = np.random.default_rng(0).normal(0, 30, 100_000)
    values = np.rint(lfilter([1], [1, -a, -b], noise)).astype(np.int64)[:, None]
    assert 6.94 < 8 * len(residual.encode_regression(values)) / 100_000 < 6.954 * 1.02


def test_a_column_that_follows_from_others_costs_its_own_noise():
    """Two of deviation 20 have 6.37 bits each; their sum with noise of deviation 2 has 3.05."""
    rng = np.random.default_rng(0)
    pair = rng.normal(0, 20, (30_000, 2))
    values = np.rint(np.column_stack([pair, pair.sum(axis=1) + rng.normal(0, 2, 30_000)])).astype(np.int64)
    bits = 8 * len(residual.encode_regression(values)) / 30_000
    assert bits < 1.02 * (2 * 6.369 + 3.2)
    assert len(residual.encode_regression(values)) < 0.9 * len(residual.encode(values, "TC"))


def test_the_smaller_line_is_taken():
    grid = Grid((Decimal(0, 0, 0),) * 3)
    data = plain("csv", walks(3000, 3), grid, "TC")
    assert data == restoration.pack_regression(walks(3000, 3), grid)
    assert len(data) < len(restoration.pack_plain(walks(3000, 3), grid, "TC"))


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_garbage_is_refused_or_decodes_to_numbers(data):
    try:
        found = residual.decode(b"\0\0\3" + data, "TC", (60, 2))
    except Damaged:
        return
    assert found.shape == (60, 2)


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_changed_streams_are_refused_or_decode_to_numbers(seed):
    rng = np.random.default_rng(seed)
    stream = bytearray(residual.encode_regression(walks(200, 3)))
    for _ in range(2):
        stream[rng.integers(len(stream))] = rng.integers(256)
    try:
        found = residual.decode(bytes(stream), "TC", (200, 3))
    except Damaged:
        return
    assert found.shape == (200, 3)


def test_streams_of_other_lengths_are_refused():
    stream = residual.encode_regression(walks(300, 2))
    for n in (150, 0, 500):
        with pytest.raises(Damaged):
            residual.decode(stream, "TC", (n, 2))
    with pytest.raises(Damaged, match="where none can be"):
        residual.decode(stream, "TC", (300, 2), reference=np.zeros((300, 2), np.int64))


def test_too_many_channels_are_refused():
    many = regression.MOST_CHANNELS + 1
    with pytest.raises(ValueError, match="channels of a series"):
        residual.encode_regression(np.zeros((1, many), np.int64))
    with pytest.raises(Damaged, match=f"{many} channels"):
        residual.decode(b"\0" * many + b"\3", "TC", (1, many))
