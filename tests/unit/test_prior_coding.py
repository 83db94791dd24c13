"""Token streams by a learned prior: exact everywhere, and of any shape."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prior_models import CODEC, SMALL, make_prior, real_level

from anycodec.bitstream.entropy import AdaptiveCoder, codes_by_prior
from anycodec.bitstream.fields import Damaged, FieldWriter
from anycodec.bitstream.prior import Prior
from anycodec.bitstream.prior_lanes import Layout
from anycodec.bitstream.prior_network import Adapting, Layer, quantised, weights
from anycodec.workflows.prior_contexts import contexts_of


def tokens_of(prior: Prior, windows: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, size, (windows, *grid))
        for size, grid in zip(prior.codebook_sizes, prior.grids, strict=True)
    ]


def streams_of(prior: Prior, tokens: list[np.ndarray], beside: int) -> list[bytes]:
    return [prior.encode(tokens[: level + 1], beside) for level in range(len(tokens))]


shapes = st.one_of(
    st.lists(st.tuples(st.sampled_from([1, 2, 3, 6])), min_size=1, max_size=3),
    st.lists(st.tuples(*[st.integers(1, 4)] * 2), min_size=1, max_size=3),
    st.lists(st.tuples(*[st.integers(1, 3)] * 3), min_size=1, max_size=2),
)


@given(grids=shapes, data=st.data())
@settings(max_examples=40, deadline=None)
def test_round_trip_of_any_shape(grids, data):
    sizes = data.draw(st.lists(st.sampled_from([2, 5, 64, 100]), min_size=len(grids), max_size=len(grids)))
    windows, beside = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 5))
    prior = make_prior(sizes, grids, in_time=data.draw(st.booleans()))
    tokens = tokens_of(prior, windows)
    for level, stream in enumerate(streams_of(prior, tokens, min(beside, windows))):
        decoded = prior.decode(stream, windows, tokens[:level])
        np.testing.assert_array_equal(decoded, tokens[level])


def test_what_is_stored_is_the_same_prior():
    prior = make_prior([5, 100], [(6,), (6,)])
    again = Prior.from_arrays(prior.arrays)
    assert again.fingerprint == prior.fingerprint
    assert (again.codec, again.codebook_sizes, again.grids) == (CODEC, (5, 100), ((6,), (6,)))
    assert again.fingerprint != make_prior([5, 100], [(6,), (6,)], seed=1).fingerprint
    tokens = tokens_of(prior, 9)
    assert streams_of(again, tokens, 1) == streams_of(prior, tokens, 1)


def test_bits_are_what_the_stream_takes():
    prior = make_prior([40, 100], [(30,), (30,)])
    tokens = tokens_of(prior, 60)
    for level, stream in enumerate(streams_of(prior, tokens, 1)):
        bits = prior.bits(tokens[: level + 1], 1)
        assert bits <= 8 * len(stream) <= bits + 100


def test_probabilities_are_those_of_the_network_in_real_numbers():
    """Against the formula in float64, from the weights before they became whole numbers."""
    rng = np.random.default_rng(0)
    (contexts,) = contexts_of([(16,)], SMALL, in_time=False)
    real = real_level(rng, contexts, [50], (16,))
    network = quantised(real, contexts, None)
    tokens, places = rng.integers(0, 51, (200, 5)), rng.integers(0, 16, (200, 1))
    x = np.clip(real["codes.0"].astype(float), -127 / 32, 127 / 32)[tokens].reshape(200, -1)
    sums = x @ real["a.weight"].T + real["a.bias"] + real["places.0"][places[:, 0]]
    hidden = np.clip(np.clip(sums, 0, 255 / 32) @ real["b.weight"].T + real["b.bias"], 0, 255 / 32)
    expected = np.exp2(hidden @ real["c.weight"].T + real["c.bias"])
    expected /= expected.sum(axis=1, keepdims=True)
    outputs = network.c(network.hidden(tokens.astype(np.int32), places))
    found = (weights(outputs, network.c.shift) + 1) / 2**24
    assert np.abs(found.sum(axis=1) - 1).max() < 1e-6
    divergence = (expected * np.log2(expected / found)).sum(axis=1).mean()
    entropy = -(expected * np.log2(expected)).sum(axis=1).mean()
    assert 0 <= divergence < 0.002 * entropy


def test_weights_fill_the_range_of_the_coder():
    rng = np.random.default_rng(0)
    outputs = rng.integers(-(2**22), 2**22, (50, 300)).astype(np.float32)
    for shift in (0, 6, 12):
        found = weights(outputs, shift)
        assert (found.sum(axis=1) == 2**24 - 300).all()
        assert (found >= 0).all()
        assert (found == np.floor(found)).all()
        assert (found.argmax(axis=1) == outputs.argmax(axis=1)).mean() > 0.9


def test_adapting_follows_the_gradient_of_the_bits():
    """Corrections as in float64, for the same symbols."""
    layer = Layer(np.zeros((6, 4), np.float32), np.zeros(6, np.float32), 9)
    rng = np.random.default_rng(0)
    adapting, more = Adapting(layer, 4), np.zeros(6)
    for _ in range(200):
        outputs = rng.normal(size=(7, 6))
        symbols = rng.choice(6, size=7, p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.05])
        expected = np.exp2(outputs + more)
        expected /= expected.sum(axis=1, keepdims=True)
        whole = np.rint(outputs * 2 ** (9 + 5)).astype(np.float32)
        found = adapting.weights(whole)
        assert np.abs((found + 1) / 2**24 - expected).max() < 0.03 * expected.max()
        adapting.update(symbols, found)
        more += 2**-4 * (np.bincount(symbols, minlength=6) - expected.sum(axis=0))
    assert more[0] > 1
    same = Adapting(layer, 0)
    same.update(symbols, found)
    np.testing.assert_array_equal(same.weights(whole), weights(whole, 9))


def test_a_stream_unlike_the_training_is_learned(monkeypatch):
    """Only codes 0 and 1 of 64 occur, which the prior does not expect."""
    prior = make_prior([64], [(50,)])
    tokens = [np.random.default_rng(0).integers(0, 2, (100, 50))]
    adapted = len(prior.encode(tokens, 1))
    monkeypatch.setattr("anycodec.bitstream.prior.RATE", 0)
    assert adapted < 0.5 * len(prior.encode(tokens, 1))


def test_the_order_of_sums_does_not_matter():
    prior = make_prior([30], [(12,)])
    (level,) = prior.levels
    order = np.random.default_rng(0).permutation(len(level.a.bias))
    shuffled = replace(
        level,
        a=Layer(level.a.weight[order], level.a.bias[order], level.a.shift),
        b=Layer(level.b.weight[:, order], level.b.bias, level.b.shift),
        places=tuple(table[:, order] for table in level.places),
    )
    tokens = tokens_of(prior, 50)
    other = Prior(CODEC, prior.codebook_sizes, prior.grids, (shuffled,))
    assert other.encode(tokens, 1) == prior.encode(tokens, 1)


_PROGRAM = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from prior_models import make_prior
from anycodec.config.prior import PriorSpec
import numpy as np
prior = make_prior([256, 100], [(64,), (64,)], spec=PriorSpec(width=256, embedding=32))
tokens = [np.random.default_rng(level).integers(0, size, (70, 64)) for level, size in enumerate((256, 100))]
streams = [prior.encode(tokens[:1], 1), prior.encode(tokens, 1)]
assert np.array_equal(prior.decode(streams[1], 70, tokens[:1]), tokens[1])
print(hashlib.sha256(b"".join(streams)).hexdigest())
"""


def test_one_and_two_threads_give_the_same_bytes():
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    digests = set()
    for threads in ("1", "2"):
        environment = {**os.environ, **dict.fromkeys(names, threads)}
        arguments = [sys.executable, "-c", _PROGRAM, str(Path(__file__).parent)]
        digests.add(subprocess.run(arguments, env=environment, capture_output=True, check=True).stdout)
    assert len(digests) == 1


def test_the_shortest_stream_is_kept():
    prior = make_prior([8], [(20,)])
    coder = AdaptiveCoder([np.ones(8, np.int64)]).with_prior(prior)
    noise = np.random.default_rng(0).integers(0, 8, (50, 20))
    plain = coder.encode(noise.ravel(), 0)
    assert coder.shorter(plain, [noise], 1) == plain
    (typical,) = prior.sample([(0, n) for n in range(50)])
    plain = coder.encode(typical.ravel(), 0)
    stream = coder.shorter(plain, [typical], 1)
    assert codes_by_prior(stream)
    assert len(stream) < len(plain)
    np.testing.assert_array_equal(coder.by_prior(stream, typical.shape, []), typical)
    with pytest.raises(Damaged, match="not at hand"):
        AdaptiveCoder([np.ones(8, np.int64)]).by_prior(stream, typical.shape, [])
    with pytest.raises(ValueError, match="codebooks"):
        AdaptiveCoder([np.ones(9, np.int64)]).with_prior(prior)


def test_samples_depend_on_their_own_seed_alone():
    prior = make_prior([8, 100], [(4, 4), (4, 4)])
    together = prior.sample([(3, n) for n in range(6)])
    for number in range(6):
        alone = prior.sample([(3, number)])
        for level in range(2):
            np.testing.assert_array_equal(alone[level][0], together[level][number])
    sharp = prior.sample([(3, n) for n in range(200)], sharpness=8.0)
    varied = prior.sample([(3, n) for n in range(200)])
    assert prior.bits(sharp[:1], 200) < 0.8 * prior.bits(varied[:1], 200)


def test_samples_are_as_frequent_as_the_prior_says():
    """The first token of a window, before which there is nothing."""
    prior = make_prior([16], [(4,)])
    (level,) = prior.levels
    nothing = np.full((1, len(level.contexts)), 16, np.int32)
    outputs = level.c(level.hidden(nothing, np.zeros((1, 1), np.int64)))
    expected = (weights(outputs, level.c.shift)[0] + 1) / 2**24
    (tokens,) = prior.sample([(1, n) for n in range(4000)])
    found = np.bincount(tokens[:, 0], minlength=16) / 4000
    assert np.abs(found - expected).max() < 4 * np.sqrt(0.25 / 4000)


# --- what is not a stream or a prior --------------------------------------------------------------


@given(st.binary(max_size=120), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_garbage_decodes_to_tokens_or_is_refused(data, windows):
    prior = make_prior([7, 100], [(3,), (3,)])
    before = [np.zeros((windows, 3), np.int64)]
    for known in ([], before):
        try:
            tokens = prior.decode(data, windows, known)
        except Damaged:
            continue
        assert tokens.shape == (windows, 3)
        assert 0 <= tokens.min() <= tokens.max() < prior.codebook_sizes[len(known)]


@pytest.mark.parametrize(
    ("beside", "run"), [(0, 1), (1, 0), (2**20, 1), (1, 2**20), (2**26, 2**26), (4, 3000)]
)
def test_impossible_lanes_are_refused_before_memory_is_taken(beside, run):
    prior = make_prior([7], [(16,)])
    fields = FieldWriter()
    fields.uint(beside)
    fields.uint(run)
    fields.byte(5)
    tracemalloc.start()
    try:
        with pytest.raises(Damaged):
            prior.decode(bytes(fields.data) + bytes(8), 10_000, [])
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_stream_does_not_decode_to_other_tokens():
    prior = make_prior([30], [(10,)])
    tokens = tokens_of(prior, 60)
    stream = prior.encode(tokens, 1)
    for changed, windows in ((stream[:-4], 60), (stream + bytes(8), 60), (stream[:-1], 60), (stream, 30)):
        try:
            found = prior.decode(changed, windows, [])
        except Damaged:
            continue
        assert not np.array_equal(found, tokens[0])


def test_lanes_are_many_and_long():
    nanopore = Layout.chosen(342, 1, (384,))
    assert 40 <= nanopore.lanes <= 64
    series = Layout.chosen(700, 7, (24,))
    assert series.run * 24 >= 256
    assert Layout.chosen(9, 9, (16, 16)) == Layout(9, 9, 1)
    for layout, grid in ((nanopore, (384,)), (series, (24,))):
        assert Layout.read(layout.windows, layout.beside, layout.run, grid) == layout


def damaged(name: str, change) -> dict[str, np.ndarray]:
    arrays = dict(make_prior([5, 100], [(6,), (6,)]).arrays)
    arrays[name] = change(arrays[name])
    return arrays


LARGEST = np.iinfo(np.int16).max
DAMAGES = {
    "another type": ("1.a.weight", lambda a: a.astype(np.int32)),
    "floats": ("0.c.bias", lambda a: a.astype(np.float32)),
    "another shape": ("0.b.weight", lambda a: a[:, 1:]),
    "fewer codes": ("1.codes.0", lambda a: a[1:]),
    "too large sums": ("0.c.weight", lambda a: np.full_like(a, LARGEST)),
    "a large bias": ("0.a.bias", lambda a: np.full_like(a, 2**31 - 1)),
    "large places": ("0.places.0", lambda a: np.full_like(a, -(2**31))),
    "large members": ("1.d.weight", lambda a: np.full_like(a, LARGEST)),
    "groups that skip a number": ("1.groups", lambda a: a * 2),
    "negative groups": ("1.groups", lambda a: -a),
    "a neighbour that comes later": ("0.contexts", lambda a: -a),
    "a neighbour of a later level": ("0.contexts", lambda a: a + np.array([1, 0], a.dtype)),
    "a far neighbour": ("0.contexts", lambda a: a * np.array([1, 6000], a.dtype)),
    "too many neighbours": ("0.contexts", lambda a: np.repeat(a, 100, axis=0)),
    "no neighbours": ("0.contexts", lambda a: a[:0]),
    "a huge shift": ("0.a.shift", lambda a: np.array(200, np.uint8)),
    "a grid of nothing": ("grids", lambda a: a * 0),
    "a huge grid": ("grids", lambda a: a * 2**25),
    "a short fingerprint": ("codec", lambda a: a[1:]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_weights_are_refused(name):
    with pytest.raises(ValueError, match=r"\w"):
        Prior.from_arrays(damaged(*DAMAGES[name]))


@pytest.mark.parametrize("name", sorted(make_prior([5, 100], [(6,), (6,)]).arrays))
def test_missing_weights_are_refused(name):
    arrays = dict(make_prior([5, 100], [(6,), (6,)]).arrays)
    del arrays[name]
    with pytest.raises(ValueError, match=r"\w"):
        Prior.from_arrays(arrays)


def test_weights_that_no_whole_numbers_hold_are_refused():
    (contexts,) = contexts_of([(8,)], SMALL, in_time=False)
    real = real_level(np.random.default_rng(0), contexts, [9], (8,))
    real["b.weight"] *= 1e6
    with pytest.raises(ValueError, match="too large"):
        quantised(real, contexts, None)
