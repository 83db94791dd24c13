"""Residual and grouped quantisation."""

from itertools import pairwise

import pytest
import torch

from anycodec.config.quantizer import EmaSpec, FsqSpec, GroupedSpec, LfqSpec, ResidualSpec, VqSpec
from anycodec.errors import ConfigError
from anycodec.torch.quantizers import make_quantizer

DIM = 4


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def build(inner, dim=DIM, **settings):
    return make_quantizer(ResidualSpec(quantizer=inner, **settings), dim)


def ema(size=16, **settings):
    return EmaSpec(codebook_size=size, **settings)


def errors_of_first_stages(quantizer, z):
    tokens, inside = quantizer(z).tokens, quantizer.books[0].squash(z)
    return [(quantizer.lookup(tokens[:n]) - inside).square().mean().item() for n in range(1, 5)]


@pytest.mark.parametrize(
    ("inner", "falls_to"),
    [
        # 16 codes in 4 dimensions are 1 bit a dimension: a Gaussian's error falls to .36 a stage
        (ema(), 0.5),
        # 5 levels from -1 to 1 leave a quarter of the range: its square is 1 / 16
        (FsqSpec(levels=(5,) * DIM), 0.07),
        # z in +-1 minus its sign, again and again with half the amplitude
        (LfqSpec(codebook_size=16), 0.5),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_each_stage_lowers_the_error(inner, falls_to):
    quantizer = build(inner, stages=4).eval()
    z = torch.rand(1, DIM, 4000) * 2 - 1
    if quantizer.latents_wanted:
        quantizer.start(z[0].T)
    errors = errors_of_first_stages(quantizer, z)
    assert all(after < falls_to * before for before, after in pairwise(errors))


def test_a_start_places_each_stage_on_what_is_left():
    """Heaps at +-4 on one axis and, around each, at +-1 on another: two stages of two codes say all."""
    coarse = torch.tensor([[4.0, 0], [-4, 0]])
    fine = torch.tensor([[0, 1.0], [0, -1]])
    z = (coarse[:, None] + fine[None]).reshape(4, 2).repeat(100, 1)
    quantizer = build(ema(2), dim=2, stages=2).train()
    assert quantizer.latents_wanted > 0
    quantizer.start(z + 0.01 * torch.randn_like(z))
    assert quantizer.latents_wanted == 0
    values = quantizer.eval()(z.T[None]).values[0].T
    torch.testing.assert_close(values, z, atol=0.02, rtol=0)


def test_dropout_restores_from_the_first_stages():
    quantizer = build(ema(kmeans_init=False, decay=1 - 1e-6), stages=3, dropout=0.5)
    z = torch.randn(1, DIM, 30)
    kept = []
    for _ in range(300):
        out = quantizer(z)
        coarser = [quantizer.lookup(out.tokens[:n]) for n in (1, 2, 3)]
        close = [torch.allclose(out.values, values, atol=1e-3) for values in coarser]
        assert sum(close) == 1
        kept.append(close.index(True) + 1)
    shares = [kept.count(n) / len(kept) for n in (1, 2, 3)]
    # half of the batches keep a uniform number of 1 .. 3 stages, the others all
    assert shares == pytest.approx([1 / 6, 1 / 6, 4 / 6], abs=0.09)
    assert torch.equal(quantizer.eval()(z).values, quantizer.lookup(quantizer(z).tokens))


def test_all_stages_learn_from_a_batch_that_keeps_one():
    quantizer = build(ema(kmeans_init=False), stages=2, dropout=1.0)
    before = [book.codebook.clone() for book in quantizer.books]
    for _ in range(3):
        quantizer(torch.randn(1, DIM, 30))
    assert all((book.codebook != old).any() for book, old in zip(quantizer.books, before, strict=True))


def test_the_gradient_passes_once_whatever_the_number_of_stages():
    for stages in (1, 5):
        z = torch.randn(2, DIM, 7, requires_grad=True)
        upstream = torch.randn_like(z)
        build(ema(kmeans_init=False), stages=stages)(z).values.backward(upstream)
        torch.testing.assert_close(z.grad, upstream)


def test_one_codebook_for_all_stages_is_one():
    quantizer = build(VqSpec(codebook_size=8, kmeans_init=False), stages=3, shared=True)
    assert [name for name, _ in quantizer.named_parameters()] == ["books.0.codebook"]
    assert quantizer.codebook_sizes == (8, 8, 8)
    tokens = tuple(torch.full((1, 2), code) for code in (1, 1, 5))
    codes = quantizer.books[0].codes()
    torch.testing.assert_close(quantizer.lookup(tokens)[0, :, 0], 2 * codes[1] + codes[5])


def test_one_codebook_counts_steps_not_stages():
    """A code that is out of use for 3 steps of 4 stages is not yet one that restarts after 4 steps."""
    quantizer = build(ema(2, kmeans_init=False, restart_after=4), stages=4, shared=True)
    far = torch.full((DIM,), 1e3)
    quantizer.books[0].place(torch.tensor([1]), far[None], torch.ones(1))
    for _ in range(4):
        quantizer(0.01 * torch.randn(1, DIM, 20))
    torch.testing.assert_close(quantizer.books[0].codes()[1], far, rtol=1e-3, atol=0)
    quantizer(0.01 * torch.randn(1, DIM, 20))
    assert quantizer.books[0].codes()[1].abs().max() < 1


def test_narrow_codes_are_narrow_in_all_stages():
    quantizer = build(ema(code_dim=2, kmeans_init=False), stages=3)
    assert all(book.codebook.shape == (16, 2) for book in quantizer.books)
    assert sum(p.numel() for p in quantizer.parameters()) == (DIM * 2 + 2) + (2 * DIM + DIM)


def test_groups_are_quantizers_of_their_channels():
    quantizer = make_quantizer(GroupedSpec(groups=2, quantizer=VqSpec(codebook_size=8)), 6).eval()
    z = torch.randn(2, 6, 5)
    out = quantizer(z)
    for i, group in enumerate(quantizer.groups):
        alone = group(z[:, 3 * i : 3 * i + 3])
        assert torch.equal(out.tokens[i], alone.tokens[0])
        assert torch.equal(out.values[:, 3 * i : 3 * i + 3], alone.values)
        assert torch.equal(out.stats[f"perplexity_{i}"], alone.stats["perplexity"])
    # each group's term is a mean over its half of the elements
    torch.testing.assert_close(out.losses["commitment"], 0.25 * (z - out.values).square().mean())


def test_groups_of_stages_keep_their_levels_in_order():
    spec = GroupedSpec(groups=2, quantizer=ResidualSpec(stages=3, quantizer=VqSpec(codebook_size=8)))
    quantizer = make_quantizer(spec, 6).eval()
    tokens = quantizer(torch.randn(2, 6, 5)).tokens
    whole = quantizer.lookup(tokens)
    first_group = quantizer.groups[0].lookup(tokens[:3])
    assert torch.equal(whole[:, :3], first_group)


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ConfigError, match="4 groups do not divide the 6 channels"):
        make_quantizer(GroupedSpec(groups=4), 6)
