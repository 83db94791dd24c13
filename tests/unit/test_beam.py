"""Codes of several stages chosen together, against trying all combinations."""

import pytest
import torch

from anycodec.config.quantizer import EmaSpec, FsqSpec, OptVqSpec, ResidualSpec, SimVqSpec, VqSpec
from anycodec.torch.quantizers import make_quantizer
from anycodec.torch.quantizers.beam import beam_search
from anycodec.torch.quantizers.search import nearest


def gaussians(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator) for shape in shapes]


def errors(z, tables, index):
    total = sum(table[chosen] for table, chosen in zip(tables, index, strict=True))
    return (z - total).square().sum(dim=1)


def test_width_one_takes_the_nearest_code_in_turn():
    z, *tables = gaussians((500, 6), (40, 6), (30, 6), (20, 6))
    left = z
    for table, found in zip(tables, beam_search(z, tables, 1), strict=True):
        expected = nearest(left, table)
        assert torch.equal(found, expected)
        left = left - table[expected]


def test_as_wide_as_the_first_table_it_finds_the_best_of_all_pairs():
    z, *tables = gaussians((700, 3), (32, 3), (50, 3))
    sums = (tables[0][:, None] + tables[1][None]).flatten(0, 1)
    best = torch.cdist(z.double(), sums.double()).square().amin(dim=1).float()
    torch.testing.assert_close(errors(z, tables, beam_search(z, tables, 32)), best, atol=1e-4, rtol=1e-4)


def test_a_wider_beam_comes_nearer():
    z, *tables = gaussians((2000, 8), (256, 8), (256, 8), (256, 8))
    tables = [table * scale for table, scale in zip(tables, (1, 0.7, 0.5), strict=True)]
    found = [errors(z, tables, beam_search(z, tables, width)).mean().item() for width in (1, 2, 4, 8)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.8 * found[0]


def test_parts_do_not_change_the_result(monkeypatch):
    z, *tables = gaussians((300, 4), (64, 4), (64, 4))
    whole = beam_search(z, tables, 4)
    monkeypatch.setattr("anycodec.torch.quantizers.beam.TILE", 4 * 4 * 7)
    assert all(map(torch.equal, beam_search(z, tables, 4), whole))


@pytest.mark.parametrize(
    "inner", [VqSpec, EmaSpec, SimVqSpec, OptVqSpec, lambda **sizes: EmaSpec(distance="cosine", **sizes)]
)
def test_evaluation_comes_nearer_and_training_stays_the_same(inner):
    quantizers = []
    for beam in (1, 8):
        torch.manual_seed(0)
        spec = ResidualSpec(stages=3, beam=beam, quantizer=inner(codebook_size=32, kmeans_init=False))
        quantizers.append(make_quantizer(spec, 6))
    z = gaussians((2, 6, 200))[0]
    greedy, wide = (quantizer.eval()(z) for quantizer in quantizers)
    assert (z - wide.values).square().mean() < (z - greedy.values).square().mean()
    torch.testing.assert_close(quantizers[1].lookup(wide.tokens), wide.values)
    assert wide.stats.keys() == greedy.stats.keys()
    greedy, wide = (quantizer.train()(z) for quantizer in quantizers)
    assert all(map(torch.equal, greedy.tokens, wide.tokens))


def test_quantizers_without_a_table_are_refused():
    for inner in (FsqSpec(levels=(5, 5)), OptVqSpec(heads=2)):
        with pytest.raises(ValueError, match="set beam: 1"):
            ResidualSpec(quantizer=inner, beam=2)


@pytest.mark.parametrize("width", [1, 32])
def test_prices_count_like_squared_distances(width):
    """Against trying all pairs (a beam as wide as the first table), or the best code in turn (1)."""
    z, *tables = gaussians((300, 3), (32, 3), (50, 3))
    prices = [table.abs() for table in gaussians((32,), (50,), seed=1)]
    first = torch.cdist(z, tables[0]).square() + prices[0]
    pairs = (z[:, None, None] - tables[0][:, None] - tables[1]).square().sum(-1)
    costs = pairs + prices[0][:, None] + prices[1]
    if width == 1:
        best = costs[torch.arange(len(z)), first.argmin(dim=1)].amin(dim=1)
    else:
        best = costs.flatten(1).amin(dim=1)
    index = beam_search(z, tables, width, prices)
    paid = sum(price[chosen] for price, chosen in zip(prices, index, strict=True))
    torch.testing.assert_close(errors(z, tables, index) + paid, best, atol=1e-4, rtol=1e-4)
