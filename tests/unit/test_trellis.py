"""Trellis-coded samples: the trellis, the search through it, and the coder of its numbers."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.trellis import TrellisCoder
from anycodec.config.quantizers.trellis import TrellisSpec
from anycodec.torch.quantizers.trellis import Trellis, cheapest_paths, forecast
from anycodec.trellis import STATES, transitions
from unit import independent_trellis

MARCELLIN_FISCHER = {4: 0.99, 8: 1.09, 16: 1.16, 32: 1.22}
"""dB less than uniform scalar quantisation of the same rate, for a uniform source at high rates."""


def random_walk_tokens(n: int, window: int, states: int, size: int, seed: int = 0) -> np.ndarray:
    """Tokens of a smooth signal, on the trellis."""
    rng = np.random.default_rng(seed)
    following = transitions(states)
    level = np.cumsum(rng.normal(size=n)) % (size // 2) + size // 4
    tokens, state = np.empty(n, np.int64), 0
    for t in range(n):
        state = 0 if t % window == 0 else state
        tokens[t] = 2 * (int(level[t]) // 2) + (state & 1)
        state = following[state, tokens[t] >> 1 & 1]
    return tokens


def constant_tokens(n: int, window: int, states: int) -> np.ndarray:
    """Tokens as near to one number as the trellis allows."""
    tokens, state = np.full(n, 100), 0
    for t in range(n):
        state = 0 if t % window == 0 else state
        tokens[t] |= state & 1
        state = transitions(states)[state, tokens[t] >> 1 & 1]
    return tokens


@pytest.mark.parametrize(("states", "squared"), [(4, 9), (8, 10), (16, 11), (32, 13)])
def test_free_distance_is_ungerboecks(states, squared):
    """Squared distance of the nearest two paths that part and meet again (Ungerboeck 1982, table 1)."""
    following = transitions(states)
    step = {0: 0, 1: 1, 2: 4, 3: 1}  # of numbers whose classes modulo 4 differ by xor so
    queue = [(step[2 * z1], int(following[0, z1])) for z1 in (1,)]
    seen = set()
    while queue:
        distance, state = heapq.heappop(queue)
        if state == 0:
            break
        if state in seen:
            continue
        seen.add(state)
        for z1 in (0, 1):
            heapq.heappush(queue, (distance + step[(state & 1) + 2 * z1], int(following[state, z1])))
    assert distance == squared


@pytest.mark.parametrize("states", STATES)
def test_the_search_finds_the_cheapest_of_all_paths(states):
    following = transitions(states)
    costs = np.random.default_rng(states).random((3, 9, 4))
    found = cheapest_paths(costs, following)
    for window, path in zip(costs, found, strict=True):
        totals = {}
        for bits in itertools.product((0, 1), repeat=9):
            state, total, classes = 0, 0.0, []
            for t, z1 in enumerate(bits):
                classes.append((state & 1) + 2 * z1)
                total += window[t, classes[-1]]
                state = following[state, z1]
            totals[tuple(classes)] = total
        assert tuple(path) == min(totals, key=totals.get)


@pytest.mark.parametrize("states", STATES)
def test_the_error_is_as_small_as_published(states):
    quantizer = Trellis(TrellisSpec(step=1 / 64, states=states, rate_weight=0)).eval()
    z = 4 * torch.rand(4, 1, 20000, generator=torch.Generator().manual_seed(0)) - 2
    error = (quantizer(z).values - z).square().mean().item()
    scalar = (2 / 64) ** 2 / 12
    assert 10 * math.log10(scalar / error) == pytest.approx(MARCELLIN_FISCHER[states], abs=0.03)


def test_a_price_on_the_rate_buys_bits_with_little_error():
    random = np.random.default_rng(0)
    x = np.convolve(random.normal(size=30000), 0.8 ** np.arange(30), "same")
    z = torch.from_numpy(x)[None, None]
    bits, errors = [], []
    for weight in (0.0, 0.4):
        quantizer = Trellis(TrellisSpec(step=0.5, rate_weight=weight, codebook_size=256)).eval()
        out = quantizer(z)
        stream = TrellisCoder(8, 256).encode(out.tokens[0][0].numpy(), 30000)
        bits.append(8 * len(stream) / 30000)
        errors.append((out.values - z).square().mean().item())
    cheaper = 0.5 * math.log2(errors[1] / errors[0])  # bits that this much error is worth (6 dB a bit)
    assert bits[0] - bits[1] > cheaper + 0.02


def test_forecasts_of_an_autoregressive_process_leave_its_innovations():
    random = np.random.default_rng(0)
    innovations = 3 * random.normal(size=8000)
    x = np.zeros(8000)
    for t in range(2, 8000):
        x[t] = 1.5 * x[t - 1] - 0.7 * x[t - 2] + innovations[t]
    mean, scale = forecast(torch.from_numpy(x)[None])
    error = (mean[0].numpy() - (x - innovations))[50:]
    assert np.sqrt((error**2).mean()) < 0.15 * 3
    assert scale.mean().item() == pytest.approx(0.55 * 3 * math.sqrt(2 / math.pi), rel=0.05)


@pytest.mark.parametrize("states", STATES)
@pytest.mark.parametrize("poles", [(0.0, 0.0), (0.9, 0.0), (0.9, 0.8)], ids=["white", "order 1", "order 2"])
def test_noise_costs_the_entropy_of_its_innovations(states, poles):
    """h(N(0, s^2)) - log2(2 steps) bits, and a tenth for learning what is Gaussian and which order it has."""
    s, n = 4.0, 60000
    innovations = s * np.random.default_rng(1).normal(size=n)
    a, b = poles[0] + poles[1], -poles[0] * poles[1]
    x = np.zeros(n + 2)
    for t in range(n):
        x[t + 2] = a * x[t + 1] + b * x[t] + innovations[t]
    quantizer = Trellis(TrellisSpec(step=1.0, states=states, rate_weight=0)).eval()
    tokens = quantizer(torch.from_numpy(x[None, None, 2:])).tokens[0][0].numpy()
    bits = 8 * len(TrellisCoder(states, 1024).encode(tokens, n)) / n
    assert 0 < bits - (0.5 * math.log2(2 * math.pi * math.e * s**2) - 1) < 0.13


@given(
    data=st.data(),
    states=st.sampled_from(STATES),
    size=st.sampled_from([8, 16, 1024, 2**16]),
    window=st.integers(1, 40),
    n=st.integers(0, 200),
)
@settings(max_examples=40, deadline=None)
def test_round_trip_of_any_path(data, states, size, window, n):
    following = transitions(states)
    choices = np.random.default_rng(data.draw(st.integers(0, 2**32))).integers(0, size // 2, n)
    tokens, state = np.empty(n, np.int64), 0
    for t in range(n):
        state = 0 if t % window == 0 else state
        tokens[t] = 2 * choices[t] + (state & 1)
        state = following[state, tokens[t] >> 1 & 1]
    coder = TrellisCoder(states, size)
    stream = coder.encode(tokens, window)
    np.testing.assert_array_equal(coder.decode(stream, n, window), tokens)


def test_tokens_off_the_trellis_are_coded_all_the_same():
    tokens = np.random.default_rng(0).integers(0, 64, 500)
    assert TrellisCoder(8, 64).encode(tokens, 100) is None
    coder = AdaptiveCoder([np.ones(64, np.int64)], trellises={0: 8})
    stream = coder.encode(tokens, 0, window=100)
    np.testing.assert_array_equal(coder.decode(stream, 500, 0, window=100), tokens)


def test_the_shortest_stream_is_the_foretold_one_and_names_its_coder():
    tokens = random_walk_tokens(5000, 1000, 8, 256)
    plain, foretelling = (AdaptiveCoder([np.ones(256, np.int64)], trellises=t) for t in (None, {0: 8}))
    stream = foretelling.encode(tokens, 0, window=1000)
    assert stream[0] == 66
    assert len(stream) < 0.6 * len(plain.encode(tokens, 0))
    np.testing.assert_array_equal(foretelling.decode(stream, 5000, 0, window=1000), tokens)
    assert (plain.name, foretelling.name) == ("adaptive-range-1", "trellis-range-1")
    with pytest.raises(Damaged, match="unknown mode 66"):
        plain.decode(stream, 5000, 0)


@given(body=st.binary(max_size=200), n=st.integers(0, 300), window=st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_streams_that_no_encoder_wrote_are_refused_or_give_tokens(body, n, window):
    try:
        tokens = TrellisCoder(8, 64).decode(body, n, window)
    except Damaged:
        return
    assert len(tokens) == n
    assert n == 0 or 0 <= tokens.min() <= tokens.max() < 64


def test_cut_and_lengthened_streams_are_refused():
    tokens = random_walk_tokens(2000, 500, 8, 256)
    coder = TrellisCoder(8, 256)
    stream = coder.encode(tokens, 500)
    for damaged in (stream[:-4], stream + bytes(4), stream[:-1]):
        with pytest.raises(Damaged):
            coder.decode(damaged, 2000, 500)


@pytest.mark.parametrize(("states", "size"), [(5, 64), (8, 12), (8, 2**17), (8, 0)])
def test_impossible_coders_are_refused(states, size):
    with pytest.raises(ValueError, match="trellis"):
        TrellisCoder(states, size)


def test_streams_are_the_same_on_every_machine():
    """Bytes of 3,000 samples of a sawtooth with some wobble, as they were when this test was written."""
    t = np.arange(3000)
    i = (t * 7 // 5 % 90 + (t * t // 11) % 5) // 2
    tokens, state = np.empty(3000, np.int64), 0
    for n in range(3000):
        state = 0 if n % 600 == 0 else state
        tokens[n] = 2 * i[n] + 60 + (state & 1)
        state = transitions(8)[state, tokens[n] >> 1 & 1]
    stream = TrellisCoder(8, 256).encode(tokens, 600)
    assert (
        hashlib.sha256(stream).hexdigest()
        == "b334ae44ba2330f3bf7c9ca5ca2ea0399ef1c8eaf881b9e64d7df25408e679ff"
    )


@pytest.mark.parametrize("states", STATES)
@pytest.mark.parametrize("kind", ["walk", "noise", "still"])
def test_a_reader_written_from_the_specification_agrees(states, kind):
    size, window, n = (256, 150, 500)
    tokens = random_walk_tokens(n, window, states, size, seed=states)
    if kind == "noise":
        quantizer = Trellis(TrellisSpec(step=0.02, states=states, codebook_size=size)).eval()
        z = torch.randn(2, 1, 250, generator=torch.Generator().manual_seed(states))
        tokens, window = quantizer(z).tokens[0].numpy().ravel(), 250
    if kind == "still":
        tokens = constant_tokens(n, window, states)
    stream = TrellisCoder(states, size).encode(tokens, window)
    assert independent_trellis.read(stream, len(tokens), window, states, size) == tokens.tolist()
