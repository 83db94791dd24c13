"""Nearest codes, by float32 products with all codes and from short lists, against float64 distances."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anycodec.torch.quantizers import search, shortlist, tiles


def true_nearest(z, codes):
    """Lowest index of the least float64 distance, and the distances."""
    distances = (z.double()[:, None] - codes.double()[None]).square().sum(dim=2)
    return distances.argmin(dim=1), distances


def every_search(z, codes):
    """Indices by each way that `nearest` has."""
    index, unsure = shortlist.nearest(z, codes)
    index[unsure] = search.nearest_of_all(z[unsure], codes)
    return {"all": search.nearest_of_all(z, codes), "list": index, "chosen": search.nearest(z, codes)}


def small_integers(rows, dim, seed):
    """Values whose products and sums float32 holds exactly: ties are ties."""
    return torch.randint(-3, 4, (rows, dim), generator=torch.Generator().manual_seed(seed)).float()


@given(st.integers(1, 70), st.integers(1, 90), st.integers(1, 80), st.integers(0, 2**20))
def test_ties_go_to_the_lowest_index(rows, size, dim, seed):
    z, codes = small_integers(rows, dim, seed), small_integers(size, dim, seed + 1)
    expected, _ = true_nearest(z, codes)
    for name, index in every_search(z, codes).items():
        assert torch.equal(index, expected), name


@given(st.integers(2, 200), st.integers(2, 6), st.integers(0, 2**20))
def test_duplicates_of_codes(size, copies, seed):
    generator = torch.Generator().manual_seed(seed)
    some = torch.randn(size, 24, generator=generator)
    codes = some.repeat(copies, 1)
    z = torch.randn(50, 24, generator=generator)
    expected, _ = true_nearest(z, some)
    for name, index in every_search(z, codes).items():
        assert torch.equal(index % size, expected), name
    assert torch.equal(every_search(z, codes)["list"], expected)


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 300), st.integers(1, 70)),
    st.sampled_from((1e-12, 1e-4, 1.0, 1e6)),
    st.sampled_from((0.0, 1e-6, 1e-3, 1.0)),
    st.sampled_from((0.0, 1.0, 100.0)),
    st.integers(0, 2**20),
)
def test_no_code_is_nearer_than_float32_tells(sizes, scale, spread, offset, seed):
    """Codes at any scale, in tight heaps, away from zero: the excess is within float32 rounding."""
    rows, size, dim = sizes
    generator = torch.Generator().manual_seed(seed)
    heaps = torch.randn(1 + size // 20, dim, generator=generator)
    codes = heaps[torch.arange(size) % len(heaps)] + spread * torch.randn(size, dim, generator=generator)
    z = codes[torch.randint(size, (rows,), generator=generator)] + torch.randn(rows, dim, generator=generator)
    z, codes = scale * (z + offset), scale * (codes + offset)
    _, distances = true_nearest(z, codes)
    lengths = z.double().norm(dim=1) + codes.double().norm(dim=1).max()
    rounding = 4 * (dim + 4) * 2**-24 * lengths.square()
    for name, index in every_search(z, codes).items():
        excess = distances[torch.arange(rows), index] - distances.min(dim=1).values
        assert (excess <= rounding).all(), name


@given(st.integers(1, 40), st.integers(1, 200), st.integers(1, 100), st.floats(-3, 3), st.integers(0, 2**20))
def test_short_lists_hold_the_nearest_code(rows, size, dim, exponent, seed):
    """What the lists decide differs from products with all codes only where float32 can't tell."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(size, dim, generator=generator) * torch.rand(size, 1, generator=generator)
    z = 10**exponent * torch.randn(rows, dim, generator=generator)
    index, unsure = shortlist.nearest(z, codes)
    expected, distances = true_nearest(z, codes)
    rows_ = torch.arange(rows)
    gap = distances[rows_, index] - distances[rows_, expected]
    assert (gap[~unsure] <= 1e-5 * (z.norm(dim=1).double() + 1)[~unsure].square()).all()


@given(st.integers(1, 40), st.integers(0, 2**20))
def test_short_lists_stand_the_worst_rounding(dim, seed):
    """Values half a step beside bfloat16 numbers, all rounded in one direction; true gaps below that."""
    generator = torch.Generator().manual_seed(seed)
    half_step = 2.0**-8 * torch.tensor([0.98, -0.98])[torch.randint(2, (300, dim), generator=generator)]
    codes = torch.sign(torch.randn(300, dim, generator=generator)) + half_step
    z = torch.ones(20, dim) + 2.0**-8 * 0.98
    expected, distances = true_nearest(z, codes)
    index, unsure = shortlist.nearest(z, codes)
    gap = distances[torch.arange(20), index] - distances[torch.arange(20), expected]
    assert (gap[~unsure] < 1e-5 * dim).all()


def test_identical_codes_are_left_undecided():
    _, unsure = shortlist.nearest(torch.randn(20, 32), torch.ones(500, 32))
    assert unsure.all()
    assert torch.equal(
        search.nearest(torch.randn(2000, 256), torch.ones(2000, 256)), torch.zeros(2000).long()
    )


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 5), st.integers(0, 2**20))
def test_tiles_and_parts_of_any_size(rows, size, dim, seed):
    z, codes = small_integers(rows, dim, seed), small_integers(size, dim, seed + 1)
    expected, _ = true_nearest(z, codes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE", 64)
        for module in (search, shortlist):
            patch.setattr(module, "COLUMNS", 16)
        for name, index in every_search(z, codes).items():
            assert torch.equal(index, expected), name


def test_codebooks_in_parts():
    """More codes than a tile has, with the last part short."""
    torch.manual_seed(0)
    codes = torch.randn(2 * 2**14 + 13, 8)
    which = torch.cat([torch.arange(0, len(codes), 97), torch.arange(len(codes) - 13, len(codes))])
    for name, index in every_search(codes[which], codes).items():
        assert torch.equal(index, which), name


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_broken_latents_get_some_code(bad):
    """Training names what is not finite; the search before it must not fail."""
    z = torch.randn(2000, 128)
    z[3, 5] = bad
    codes = torch.randn(1500, 128)
    for index in every_search(z, codes).values():
        assert ((index >= 0) & (index < 1500)).all()


def test_short_lists_are_short_on_normal_data():
    """Few rows are left: else the float32 search would follow for all of them."""
    torch.manual_seed(0)
    _, unsure = shortlist.nearest(torch.randn(1000, 256), torch.randn(4096, 256))
    assert unsure.float().mean() < 0.01


@given(st.integers(1, 40), st.integers(1, 600), st.integers(1, 9), st.integers(0, 2**20))
def test_the_nearest_few_come_in_order(rows, size, count, seed):
    generator = torch.Generator().manual_seed(seed)
    z, codes = torch.randn(rows, 5, generator=generator), torch.randn(size, 5, generator=generator)
    count = min(count, size)
    _, distances = true_nearest(z, codes)
    index, scores = search.nearest_few(z, codes, count)
    least = distances.sort(dim=1).values[:, :count]
    torch.testing.assert_close(distances.gather(1, index), least, atol=1e-5, rtol=1e-5)
    squares = z.double().square().sum(dim=1, keepdim=True) + 2 * scores
    torch.testing.assert_close(squares, least, atol=1e-4, rtol=1e-5)
