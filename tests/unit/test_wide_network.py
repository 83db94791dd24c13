"""Streams of wide networks: by FORMAT.md alone, the same for ever, damaged, and how small they are."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from independent_restoration import decode_stream

from anycodec import bitstream
from anycodec.bitstream import residual, restoration, wide
from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.grid import Decimal, Grid
from anycodec.bitstream.limits import LARGEST_GRID
from anycodec.workflows.predictors import leaves_noise, plain

FOLDER = Path(bitstream.__file__).parent
GOLDEN = Path(__file__).parents[1] / "golden" / "acz" / "wide.json"


def current(n: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Levels that last ten samples, and noise of deviation 11: what nanopores measure. [n 1]"""
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.normal(500, 60, n // 10 + 1), 10)[:n]
    return np.rint(scale * (levels + rng.normal(0, 11, n))).astype(np.int64)[:, None]


# --- by the specification -----------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.1, 1, 300])
def test_streams_by_the_specification(scale):
    values = current(25, scale=scale)
    values[11] += 2**20
    found = decode_stream(residual.encode_wide(values, wide.NANOPORE), "TC", values.shape)
    np.testing.assert_array_equal(found, values)


# --- the same for ever --------------------------------------------------------------------------


def test_networks_of_the_format_never_change():
    text = (FOLDER / "FORMAT.md").read_text(encoding="utf-8")
    listed = re.findall(r"\| (\d+) \| `models/([\w-]+)\.bin`.*\| `([0-9a-f]{64})` \|", text)
    assert [(int(number), name) for number, name, _ in listed] == list(enumerate(wide.NAMES))
    for _, name, checksum in listed:
        assert hashlib.sha256((FOLDER / "models" / f"{name}.bin").read_bytes()).hexdigest() == checksum


def test_a_stream_of_before_is_read_and_written_again():
    golden = json.loads(GOLDEN.read_text())
    values, stream = np.array(golden["values"])[:, None], bytes.fromhex(golden["stream"])
    np.testing.assert_array_equal(residual.decode(stream, "TC", values.shape), values)
    assert residual.encode_wide(values, wide.NANOPORE) == stream


def test_networks_survive_their_bytes():
    data = (FOLDER / "models" / "nanopore-wide-1.bin").read_bytes()
    assert wide.builtin(wide.NANOPORE).pack() == data


@pytest.mark.parametrize("change", ["sum", "inputs", "outputs"])
def test_other_networks_are_refused(change):
    layers = [(np.zeros(size, np.int16), np.zeros(size[0], np.int32)) for size in ((5, 39), (6, 5), (12, 6))]
    wide.WideNetwork(tuple(layers))
    if change == "sum":
        layers[1][1][0] = 2**31 - 1
        layers[1][0][0, 0] = 1
    elif change == "inputs":
        layers[0] = (np.zeros((5, 38), np.int16), layers[0][1])
    else:
        layers[2] = (np.zeros((13, 6), np.int16), np.zeros(13, np.int32))
    with pytest.raises(ValueError, match="a network"):
        wide.WideNetwork(tuple(layers))


# --- any values ---------------------------------------------------------------------------------


@given(
    st.integers(0, 2**32), st.integers(0, 90), st.integers(0, 40), st.sampled_from(["noise", "walk", "rare"])
)
@settings(max_examples=60, deadline=None)
def test_any_values_return(seed, n, bits, kind):
    rng = np.random.default_rng(seed)
    values = rng.integers(-(2**bits), 2**bits + 1, (n, 1))
    if kind == "walk":
        values = np.clip(values.cumsum(axis=0), -LARGEST_GRID, LARGEST_GRID)
    if kind == "rare":
        values = np.where(rng.random((n, 1)) < 0.1, values, 3)
    stream = residual.encode_wide(values, wide.NANOPORE)
    np.testing.assert_array_equal(residual.decode(stream, "TC", values.shape), values)


def test_extremes_return():
    values = np.random.default_rng(0).choice([-LARGEST_GRID, LARGEST_GRID], (3000, 1))
    stream = residual.encode_wide(values, wide.NANOPORE)
    np.testing.assert_array_equal(residual.decode(stream, "TC", values.shape), values)


def test_what_it_can_not_code_is_refused():
    with pytest.raises(ValueError, match="one channel"):
        residual.encode_wide(np.zeros((4, 2), np.int64), wide.NANOPORE)
    with pytest.raises(ValueError, match="too many"):
        residual.encode_wide(np.full((4, 1), LARGEST_GRID + 1), wide.NANOPORE)


# --- how small ----------------------------------------------------------------------------------


def test_levels_and_noise_cost_little_more_than_the_noise():
    """Who knew when levels change would need 5.92 bits: log2(11 sqrt(2 pi e)) = 5.51 for the noise, and every
    ten samples log2(61 / 11) for the new level and log2(10) / 2 to learn its mean."""
    values = current(40_000)
    bits = 8 * len(residual.encode_wide(values, wide.NANOPORE)) / 40_000
    assert 5.92 < bits < 6.45
    assert bits < 0.99 * 8 * len(residual.encode(values, "TC")) / 40_000


def test_a_constant_costs_next_to_nothing():
    assert 8 * len(residual.encode_wide(np.full((20_000, 1), 77), wide.NANOPORE)) / 20_000 < 0.2


def test_a_network_predicts_current_and_lines_what_is_none():
    grid = Grid((Decimal(0, 0, 0),))
    data = plain("pod5", current(2000), grid, "TC")
    assert data == restoration.pack_wide(current(2000), grid, wide.NANOPORE)
    assert leaves_noise("pod5", current(2000), "TC", data)
    assert not leaves_noise("csv", current(2000), "TC", data)
    wave = np.rint(3000 * np.sin(np.arange(2000) / 9)).astype(np.int64)[:, None]
    assert len(plain("pod5", wave, grid, "TC")) < 0.9 * len(restoration.pack_wide(wave, grid, wide.NANOPORE))


# --- damage -------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_garbage_is_refused_or_decodes_to_numbers(data):
    try:
        found = residual.decode(b"\0\2\0" + data, "TC", (60, 1))
    except Damaged:
        return
    assert found.shape == (60, 1)


@given(st.integers(0, 2**32), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_changed_streams_are_refused_or_decode_to_numbers(seed, short):
    rng = np.random.default_rng(seed)
    stream = bytearray(residual.encode_wide(current(300), wide.NANOPORE))
    for _ in range(2):
        stream[rng.integers(len(stream))] = rng.integers(256)
    try:
        found = residual.decode(bytes(stream[: len(stream) - short]), "TC", (300, 1))
    except Damaged:
        return
    assert found.shape == (300, 1)


def test_streams_that_are_too_short_or_too_long_are_refused():
    stream = residual.encode_wide(current(300), wide.NANOPORE)
    for n in (150, 0, 400):
        with pytest.raises(Damaged):
            residual.decode(stream, "TC", (n, 1))
    with pytest.raises(Damaged, match="bytes"):
        residual.decode(stream[:-4], "TC", (300, 1))


def test_streams_where_no_wide_network_can_be_are_refused():
    stream = residual.encode_wide(current(8), wide.NANOPORE)
    with pytest.raises(Damaged, match="where none can be"):
        residual.decode(stream, "TC", (8, 1), reference=np.zeros((8, 1), np.int64))
    with pytest.raises(Damaged, match="where none can be"):
        residual.decode(stream, "HWC", (8, 1, 1))
    unknown = stream[: stream.index(2) + 1] + b"\1" + stream[stream.index(2) + 2 :]
    with pytest.raises(Damaged, match="network 1 of the format is unknown; a newer anycodec"):
        residual.decode(unknown, "TC", (8, 1))


# --- the compiler -------------------------------------------------------------------------------


def test_the_compiler_is_loaded_for_predictions_alone():
    code = "import anycodec.workflows.compress, sys; print('numba' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.strip() == "False"
