"""Tokens in context: what it saves, that it comes back, and that damage is seen."""

import math
import subprocess
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from anycodec.bitstream.context import TokenContext
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.bitstream.fields import Damaged
from anycodec.types import Tokens
from anycodec.workflows import statistics

K = 64
GROUPS = np.arange(K) // 4
CONTEXT_MODE = 64


def chain(n, seed=0):
    """Tokens that stay in their group of 4 codes or go to the next of 16: 3 bits a token."""
    rng = np.random.default_rng(seed)
    groups = np.cumsum(rng.integers(0, 2, n)) % 16
    return groups * 4 + rng.integers(0, 4, n)


def pairs_of(tokens, above=None):
    counts = np.zeros((16, 16), np.int64)
    first, second = (tokens[:-1], tokens[1:]) if above is None else (above, tokens)
    np.add.at(counts, (GROUPS[first], GROUPS[second]), 1)
    return counts


def coder(**context):
    tokens = chain(20_000, seed=1)
    context = {"groups": GROUPS, "pairs": pairs_of(tokens)} | context
    return AdaptiveCoder([np.bincount(tokens, minlength=K)], {0: TokenContext(**context)})


def test_a_chain_costs_its_conditional_entropy():
    tokens = chain(20_000)
    data = coder().encode(tokens, 0)
    assert data[0] == CONTEXT_MODE
    assert 3.0 * (1 - 0.01) < 8 * len(data) / len(tokens) < 3.0 * 1.02
    np.testing.assert_array_equal(coder().decode(data, len(tokens), 0), tokens)


def test_contexts_are_learned_where_training_saw_none():
    """Blind tables cost 16 x 16 pairs to learn, no more."""
    tokens = chain(60_000)
    blind = AdaptiveCoder(
        [np.zeros(K, np.int64)], {0: TokenContext(groups=GROUPS, pairs=np.zeros((16, 16), np.int64))}
    )
    assert 8 * len(blind.encode(tokens, 0)) / len(tokens) < 3.0 * 1.05


def test_the_coarser_level_is_the_context():
    """The finer token is in the coarser one's group: log2(4) bits."""
    rng = np.random.default_rng(3)
    above = rng.integers(0, K, 20_000)
    tokens = GROUPS[above] * 4 + rng.integers(0, 4, len(above))
    uniform = np.ones(K, np.int64)
    context = TokenContext(groups=GROUPS, pairs=pairs_of(tokens, above), coarser=GROUPS)
    both = AdaptiveCoder([uniform, uniform], {1: context})
    data = both.encode(tokens, 1, above)
    assert data[0] == CONTEXT_MODE
    assert 8 * len(data) / len(tokens) == pytest.approx(2, rel=0.04)
    np.testing.assert_array_equal(both.decode(data, len(tokens), 1, above), tokens)
    assert both.encode(tokens, 1)[0] != CONTEXT_MODE
    for other in (None, above[:-1]):
        with pytest.raises(Damaged, match="coarser level"):
            both.decode(data, len(tokens), 1, other)


def test_context_is_not_used_where_it_does_not_pay():
    symbols = np.random.default_rng(5).integers(0, K, 3000)
    assert coder().encode(symbols, 0)[0] != CONTEXT_MODE


@given(st.data())
def test_round_trip_of_any_symbols_in_any_context(data):
    size = data.draw(st.integers(2, 24))
    n_groups = data.draw(st.integers(2, size))
    groups = np.array(data.draw(st.permutations([i % n_groups for i in range(size)])))
    count = st.integers(0, 2**40)
    flat = data.draw(st.lists(count, min_size=n_groups**2, max_size=n_groups**2))
    pairs = np.array(flat, np.int64).reshape(n_groups, n_groups)
    prior = np.array(data.draw(st.lists(count, min_size=size, max_size=size)), np.int64)
    symbols = np.array(data.draw(st.lists(st.integers(0, size - 1), max_size=700)), np.int64)
    above = np.roll(symbols, 1)
    for coarser in (None, groups):
        context = TokenContext(groups=groups, pairs=pairs, coarser=coarser)
        tested = AdaptiveCoder([prior], {0: context})._contexts[0]
        coded = tested.encode(symbols, above)
        np.testing.assert_array_equal(tested.decode(coded, len(symbols), above), symbols)


@given(body=st.binary(max_size=400), n=st.integers(0, 500))
def test_foreign_bytes_decode_to_tokens_or_are_refused(body, n):
    try:
        symbols = coder().decode(bytes([CONTEXT_MODE]) + body, n, 0)
    except Damaged:
        return
    assert symbols.shape == (n,)
    assert not n or 0 <= symbols.min() <= symbols.max() < K


def test_a_mode_without_its_table_is_refused():
    with pytest.raises(Damaged, match="mode"):
        AdaptiveCoder([np.ones(K, np.int64)]).decode(coder().encode(chain(500), 0), 500, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"groups": GROUPS + 1},
        {"groups": np.zeros(K, np.int64)},
        {"groups": np.zeros(K, np.int64), "pairs": np.zeros((1, 1), np.int64)},
        {"pairs": np.zeros((4, 16), np.int64)},
        {"pairs": np.full((16, 16), -1)},
        {"coarser": np.full(8, 16)},
        {"pairs": np.zeros((16, 5000), np.int64)},
    ],
)
def test_tables_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match=r"groups|counts|contexts"):
        coder(**wrong)


def test_bytes_do_not_depend_on_threads():
    code = (
        "import sys; sys.path.insert(0, 'tests/unit'); import test_token_context as t, hashlib;"
        "print(hashlib.sha256(t.coder().encode(t.chain(9000), 0)).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env={"OMP_NUM_THREADS": threads, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for threads in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1


# --- learning the tables ----------------------------------------------------------------------------------


class Twins:
    """A codec of two levels: the level of a step (of 32), and a finer one within it (of 4)."""

    codebook_sizes = (32, 4)

    def encode(self, windows):
        values = np.clip(np.rint(windows[:, 0] * 4), 0, 127).astype(np.int64)
        return Tokens((values // 4, values % 4), self.codebook_sizes)

    def decode(self, tokens):
        coarse, fine = tokens.grids
        return ((coarse * 4 + fine) / 4).astype(np.float32)[:, None]


class Walks:
    """Random walks of 1 x 400 samples between 0 and 31.75."""

    def __len__(self):
        return 30

    def epoch_order(self, epoch):
        return np.arange(30)

    def item(self, epoch, index):
        steps = np.random.default_rng(index).normal(size=400).cumsum()
        return np.abs((steps + 16) % 63.5 - 31.75)[None, None].astype(np.float32)


def test_statistics_of_a_walk_save_bits():
    """A walk with steps of sigma 1, seen in steps of 1, costs log2(sqrt(2 pi e)) = 2.05 bits."""
    arrays = statistics.token_statistics(Twins(), Walks(), (1, 1))
    assert {name: array.shape for name, array in arrays.items()} == {
        "token_counts.0": (32,), "token_counts.1": (4,), "token_groups.0": (32,), "token_groups.1": (4,),
        "token_pairs.0": (32, 32), "token_pairs_coarser.1": (32, 4),
    }  # fmt: skip
    assert arrays["token_pairs.0"].sum() == 30 * 399
    assert arrays["token_pairs_coarser.1"].sum() == 30 * 400
    learned = statistics.token_coder(arrays, 2)
    tokens = Twins().encode(np.concatenate([Walks().item(0, i) for i in range(100, 120)]))
    coded = learned.encode(tokens.grids[0].ravel(), 0)
    assert 8 * len(coded) / tokens.grids[0].size == pytest.approx(
        math.log2(math.sqrt(2 * math.pi * math.e)), abs=0.25
    )
    np.testing.assert_array_equal(learned.decode(coded, tokens.grids[0].size, 0), tokens.grids[0].ravel())


def test_codes_that_look_alike_share_a_group():
    counts = np.array([100] * 32)
    codec = Twins()
    features = statistics.code_features(codec, [counts, np.ones(4, int)], 0, (1, 1))
    np.testing.assert_allclose(features[:, 0], np.arange(32))
    groups = statistics._group_codes(features, counts, 8)
    assert all(np.ptp(np.flatnonzero(groups == group)) < 16 for group in range(groups.max() + 1))
    edges = np.flatnonzero(np.diff(groups))
    assert len(edges) == groups.max()


def test_few_tokens_have_no_context():
    class Short(Walks):
        def epoch_order(self, epoch):
            return np.arange(1)

        def item(self, epoch, index):
            return super().item(epoch, index)[..., :40]

    assert set(statistics.token_statistics(Twins(), Short(), (1, 1))) == {"token_counts.0", "token_counts.1"}
