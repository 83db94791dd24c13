"""Whole numbers on a grid come back exactly from RESIDUAL streams, whatever they are."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.signal import lfilter

from anycodec.bitstream import residual
from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.lattice import HISTORY, make_lattice
from anycodec.bitstream.limits import LARGEST_GRID, MOST_RESTORED
from anycodec.bitstream.network import Network

SHAPES = {"TC": (700, 2), "HWC": (19, 33, 3), "THWC": (5, 9, 11, 3)}


def random_network(seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    sizes = [(8, HISTORY), (8, 8), (9, 8)]
    return Network.quantised(
        {f"{name}.{kind}": rng.normal(size=size[:dims]).astype("f4") * 0.3
         for name, size in zip("abc", sizes, strict=True)
         for kind, dims in (("weight", 2), ("bias", 1))}
    )  # fmt: skip


def numbers(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return {
        "zeros": lambda: np.zeros(shape, np.int64),
        "noise": lambda: rng.integers(-50, 50, shape),
        "walk": lambda: np.cumsum(rng.integers(-9, 10, shape), axis=0),
        "rare": lambda: (rng.random(shape) < 0.01) * rng.integers(-(2**30), 2**30, shape),
        "extremes": lambda: rng.choice([-LARGEST_GRID, LARGEST_GRID], shape),
    }[kind]()


@pytest.mark.parametrize("axes", list(SHAPES))
@pytest.mark.parametrize("kind", ["zeros", "noise", "walk", "rare", "extremes"])
@pytest.mark.parametrize("with_reference", [False, True])
def test_round_trip(axes, kind, with_reference):
    rng = np.random.default_rng(1)
    values = numbers(kind, SHAPES[axes], rng)
    reference = values // 4 * 4 + rng.integers(-3, 4, values.shape) if with_reference else None
    data = residual.encode(values, axes, reference)
    np.testing.assert_array_equal(residual.decode(data, axes, values.shape, reference), values)


@pytest.mark.parametrize("kind", ["zeros", "noise", "walk", "rare", "extremes"])
def test_round_trip_with_a_network(kind):
    values = numbers(kind, (1500, 1), np.random.default_rng(2))
    network = random_network()
    data = residual.encode(values, "TC", network=(3, network))
    np.testing.assert_array_equal(residual.decode(data, "TC", values.shape, models={3: network}), values)
    with pytest.raises(Damaged, match="model 3 is missing"):
        residual.decode(data, "TC", values.shape)


@given(st.sampled_from(["TC", "HWC", "THWC"]), st.integers(0, 2**32), st.integers(0, 42), st.integers(0, 12))
@settings(max_examples=60)
def test_round_trip_of_any_shape_and_size(axes, seed, bits, extent):
    rng = np.random.default_rng(seed)
    shape = (*(int(rng.integers(1, extent + 2)) for _ in axes[1:]), int(rng.integers(1, 5)))
    shape = (int(rng.integers(0, 40)), shape[-1]) if axes == "TC" else shape[-len(axes) :]
    most = min(LARGEST_GRID, 2**bits // 4)
    values = rng.integers(-most, most + 1, shape)
    data = residual.encode(values, axes)
    np.testing.assert_array_equal(residual.decode(data, axes, shape), values)


def test_white_noise_costs_its_entropy():
    """Uniform numbers in -8..7 have 4 bits each; logistics fit them to a tenth of that."""
    values = np.random.default_rng(0).integers(-8, 8, (40_000, 1))
    assert 4 <= 8 * len(residual.encode(values, "TC")) / 40_000 < 4.4


def test_gaussian_noise_costs_its_entropy():
    """Rounded normal numbers of deviation 20: log2(20 sqrt(2 pi e)) = 6.369 bits."""
    values = np.rint(np.random.default_rng(0).normal(0, 20, (100_000, 1))).astype(np.int64)
    assert 6.36 < 8 * len(residual.encode(values, "TC")) / 100_000 < 6.45


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.2), (1.6, -0.8), (-0.9, 0.0)])
def test_an_autoregression_costs_the_entropy_of_its_noise(a, b):
    """x_t = a x_(t-1) + b x_(t-2) + noise of deviation 30: log2(30 sqrt(2 pi e)) = 6.954 bits."""
    noise = np.random.default_rng(0).normal(0, 30, 100_000)
    values = lfilter([1], [1, -a, -b], noise)
    bits = 8 * len(residual.encode(np.rint(values).astype(np.int64)[:, None], "TC")) / 100_000
    assert 6.94 < bits < 6.954 * 1.02


def test_what_can_be_predicted_costs_next_to_nothing():
    ramp = np.arange(20_000)[:, None] * 7
    assert 8 * len(residual.encode(ramp, "TC")) / 20_000 < 0.2
    height, width = np.indices((120, 160))
    plane = (3 * height + 5 * width)[..., None]
    assert 8 * len(residual.encode(plane, "HWC")) / plane.size < 0.35


def test_a_reference_is_made_use_of():
    rng = np.random.default_rng(0)
    reference = rng.integers(-1000, 1000, (20_000, 1))
    values = reference + rng.integers(-1, 2, reference.shape)
    assert 8 * len(residual.encode(values, "TC", reference)) / 20_000 < 1.585 + 0.3  # log2 3


@pytest.mark.parametrize("axes", list(SHAPES))
def test_every_neighbour_comes_before(axes):
    """Decoding in steps needs nothing of its own step."""
    shape = SHAPES[axes]
    lattice = make_lattice(axes, shape, 100)
    done = np.zeros(lattice.size, bool)
    margin = np.ones(lattice.size, bool)
    margin[lattice.places] = False
    for which in lattice.stretches():
        at = lattice.places[which]
        for distance in [*lattice.taps, *(tap for tap, _ in lattice.activity)]:
            assert (done | margin)[at + distance].all()
        done[at] = True
    assert done[lattice.places].all()
    assert len(np.unique(lattice.places)) == np.prod(shape)


@given(st.binary(max_size=300), st.sampled_from(["TC", "HWC", "THWC"]), st.booleans())
@settings(max_examples=150)
def test_garbage_is_refused_or_decodes_to_numbers(data, axes, with_reference):
    shape = {"TC": (60, 2), "HWC": (6, 7, 1), "THWC": (2, 4, 4, 3)}[axes]
    reference = np.ones(shape, np.int64) if with_reference else None
    try:
        found = residual.decode(data, axes, shape, reference, {0: random_network()})
    except Damaged:
        return
    assert found.shape == shape


@given(st.data())
@settings(max_examples=80)
def test_changed_streams_are_refused_or_decode_to_numbers(data):
    values = numbers("walk", (300, 2), np.random.default_rng(0))
    stream = bytearray(residual.encode(values, "TC"))
    for _ in range(data.draw(st.integers(1, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = residual.decode(bytes(stream), "TC", values.shape)
    except Damaged:
        return
    assert found.shape == values.shape


def test_lanes_without_samples_are_refused():
    with pytest.raises(Damaged, match="unknown kind"):
        residual.decode(b"\0\0\0" + b"\1" * 40, "TC", (0, 1))


def test_absurd_sizes_are_refused_before_memory_is_taken():
    with pytest.raises(Damaged, match="above the limit"):
        residual.decode(b"\0" * 40, "TC", (MOST_RESTORED + 1, 1))


def test_networks_survive_their_bytes():
    from anycodec.bitstream.fields import FieldReader

    network = random_network()
    found = Network.unpack(FieldReader(network.pack()))
    for (weights, bias), (own_weights, own_bias) in zip(found.layers, network.layers, strict=True):
        np.testing.assert_array_equal(weights, own_weights)
        np.testing.assert_array_equal(bias, own_bias)


def test_networks_beyond_exact_sums_are_refused():
    layers = [(np.full((9, 20), 1000, "f4"), np.zeros(9, "f4"))] * 3
    with pytest.raises(ValueError, match="network"):
        Network(tuple(layers))
