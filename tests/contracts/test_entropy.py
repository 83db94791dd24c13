"""What every level of every codec may expect of the entropy coder."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.bitstream.fields import Damaged

SIZES = [2, 3, 256, 1000, 4096, 2**16, 2**18, 2**18 + 1]


def zipf(size: int, n: int, seed: int = 0) -> np.ndarray:
    p = 1 / np.arange(1, size + 1)
    return np.random.default_rng(seed).choice(size, size=n, p=p / p.sum())


def entropy(counts: np.ndarray) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())


def packed_size(size: int, n: int) -> int:
    return -(-n * (size - 1).bit_length() // 8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n", [0, 1, 7, 5000])
def test_round_trip(size, n):
    coder = AdaptiveCoder([np.bincount(zipf(size, 3000), minlength=size)])
    symbols = zipf(size, n, seed=1)
    data = coder.encode(symbols, 0)
    decoded = coder.decode(data, n, 0)
    assert decoded.dtype == np.int64
    np.testing.assert_array_equal(decoded, symbols)
    assert len(data) <= 1 + packed_size(size, n)


@given(st.data())
def test_round_trip_of_any_symbols_with_any_prior(data):
    size = data.draw(st.integers(2, 40))
    prior = data.draw(st.lists(st.integers(0, 2**40), min_size=size, max_size=size))
    symbols = np.array(data.draw(st.lists(st.integers(0, size - 1), max_size=600)), np.int64)
    coder = AdaptiveCoder([np.array(prior, np.int64)])
    coded = coder.encode(symbols, 0)
    np.testing.assert_array_equal(coder.decode(coded, len(symbols), 0), symbols)
    assert len(coded) <= 1 + packed_size(size, len(symbols))


@pytest.mark.parametrize("size", [256, 1024, 4096])
def test_long_streams_come_close_to_their_entropy_whatever_the_prior(size):
    symbols = zipf(size, 300_000)
    bound = entropy(np.bincount(symbols))
    for prior in (np.bincount(zipf(size, 10**6, seed=2), minlength=size), np.zeros(size, np.int64)):
        coder = AdaptiveCoder([prior])
        assert 8 * len(coder.encode(symbols, 0)) / len(symbols) < 1.015 * bound


def test_short_streams_profit_from_the_prior():
    """500 tokens are too few to learn 1024 probabilities: with a prior, within 2 % of its entropy."""
    size, n = 1024, 500
    source = np.bincount(zipf(size, 10**6, seed=2), minlength=size)
    coder, blind = AdaptiveCoder([source]), AdaptiveCoder([np.zeros(size, np.int64)])
    streams = [zipf(size, n, seed) for seed in range(3, 23)]
    bits = np.mean([8 * len(coder.encode(s, 0)) / n for s in streams])
    assert bits < 1.02 * entropy(source)
    assert bits < 0.95 * np.mean([8 * len(blind.encode(s, 0)) / n for s in streams])


def test_a_constant_stream_costs_less_than_a_twentieth_of_a_bit_a_token():
    coder, n = AdaptiveCoder([np.ones(256, np.int64)]), 100_000
    assert 8 * len(coder.encode(np.full(n, 7), 0)) / n < 0.05


def test_levels_have_their_own_codebooks():
    coder = AdaptiveCoder([np.ones(4, np.int64), np.ones(300, np.int64)])
    assert coder.codebook_sizes == (4, 300)
    symbols = zipf(300, 50)
    np.testing.assert_array_equal(coder.decode(coder.encode(symbols, 1), 50, 1), symbols)
    with pytest.raises(ValueError, match=r"not in 0\.\.3"):
        coder.encode(symbols, 0)


@pytest.mark.parametrize("symbol", [-1, 8, 2**40])
def test_symbols_outside_the_codebook_are_refused(symbol):
    coder = AdaptiveCoder([np.ones(8, np.int64)])
    with pytest.raises(ValueError, match="not in"):
        coder.encode(np.array([0, symbol]), 0)


@pytest.mark.parametrize(
    "prior", [np.ones(1, np.int64), np.array([1, -1]), np.array([0.5, 0.5]), np.ones((2, 2), np.int64)]
)
def test_priors_that_are_no_counts_are_refused(prior):
    with pytest.raises(ValueError, match="token counts"):
        AdaptiveCoder([prior])


@given(st.binary(max_size=200), st.integers(0, 3000), st.sampled_from([2, 100, 5000, 2**18 + 1]))
def test_garbage_decodes_to_tokens_or_is_refused(data, n, size):
    coder = AdaptiveCoder([np.ones(size, np.int64)])
    try:
        symbols = coder.decode(data, n, 0)
    except Damaged:
        return
    assert symbols.shape == (n,)
    assert not n or 0 <= symbols.min() <= symbols.max() < size


def test_a_stream_does_not_decode_to_another_number_of_tokens():
    coder = AdaptiveCoder([np.ones(1000, np.int64)])
    data = coder.encode(zipf(1000, 500), 0)
    with pytest.raises(Damaged):
        coder.decode(data, 100, 0)


@pytest.mark.parametrize("n", [-1, 2**26 + 1])
def test_absurd_numbers_of_tokens_are_refused_before_memory_is_taken(n):
    with pytest.raises(Damaged, match="no stream"):
        AdaptiveCoder([np.ones(4, np.int64)]).decode(b"\x01", n, 0)
