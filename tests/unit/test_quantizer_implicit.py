"""Quantizers whose codes are a grid: FSQ, LFQ and its spherical form."""

import itertools
import math

import pytest
import torch
from pydantic import ValidationError
from torch.utils._python_dispatch import TorchDispatchMode

from anycodec.config.quantizer import FsqSpec, LfqSpec
from anycodec.torch.quantizers import fsq, make_quantizer
from anycodec.torch.quantizers.lfq import bit_entropy, mean_code_entropy


class LargestTensor(TorchDispatchMode):
    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("levels", [(2, 3, 4), (8, 5, 5, 5)])
@pytest.mark.parametrize("symmetric", [False, True])
def test_every_code_of_fsq_is_its_own_and_can_be_reached(levels, symmetric):
    quantizer = make_quantizer(FsqSpec(levels=levels, symmetric=symmetric), len(levels)).eval()
    every = torch.arange(math.prod(levels))[None]
    codes = quantizer.lookup((every,))
    assert len(torch.unique(codes[0].T, dim=0)) == math.prod(levels)
    far = quantizer(20 * torch.randn(1, len(levels), 20_000)).tokens[0]
    near = quantizer(torch.randn(1, len(levels), 20_000)).tokens[0]
    assert len(torch.unique(torch.cat((far, near)))) > 0.99 * math.prod(levels)


def test_fsq_rounds_to_its_levels():
    """tanh(z) (L - 1) / 2, rounded: 5 levels at -1, -.5, 0, .5, 1."""
    quantizer = make_quantizer(FsqSpec(levels=(5,)), 1).eval()
    z = torch.atanh(torch.tensor([-0.99, -0.6, -0.4, 0.0, 0.2, 0.3, 0.9]))
    values = quantizer(z[None, None]).values.flatten()
    assert values.tolist() == [-1, -0.5, -0.5, 0, 0, 0.5, 1]


@pytest.mark.parametrize("symmetric", [False, True])
def test_clipping_takes_the_nearest_level(symmetric):
    quantizer = make_quantizer(FsqSpec(levels=(4,), bound="clip", symmetric=symmetric), 1)
    levels = quantizer.lookup((torch.arange(4)[None],)).flatten()
    z = torch.linspace(-3, 3, 500)
    nearest = levels[(z[:, None] - levels).abs().argmin(dim=1)]
    torch.testing.assert_close(quantizer(z[None, None]).values.flatten(), nearest)


def test_even_levels_keep_zero_unless_symmetric():
    zero = torch.zeros(1, 1, 1)
    assert make_quantizer(FsqSpec(levels=(4,)), 1)(zero).values.item() == 0
    codes = make_quantizer(FsqSpec(levels=(4,), symmetric=True), 1).lookup((torch.arange(4)[None],))
    torch.testing.assert_close(codes.flatten(), torch.tensor([-1, -1 / 3, 1 / 3, 1]))


def test_entropies_of_lfq_equal_those_over_all_codes():
    """softmax over all codes c of 2 t z.c, in double precision."""
    bits, temperature = 6, 1.5
    z = torch.randn(40, bits, dtype=torch.float64)
    codes = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=bits)), dtype=torch.float64)
    p = torch.softmax(2 * temperature * z @ codes.T, dim=1)
    own = -(p * p.log()).sum(dim=1).mean()
    mean = p.mean(dim=0)
    logits = 4 * temperature * z
    torch.testing.assert_close(bit_entropy(logits), own)
    torch.testing.assert_close(mean_code_entropy(logits), -(mean * mean.log()).sum())


def test_entropy_is_0_for_one_sure_code_and_all_bits_for_all_codes():
    codes = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)))
    for rows, entropy in ((codes[:1], 0), (codes[:2], 1), (codes, 3)):
        assert mean_code_entropy(400 * rows).item() == pytest.approx(entropy * math.log(2), abs=1e-6)
        assert bit_entropy(400 * rows).item() == pytest.approx(0, abs=1e-6)
    assert bit_entropy(torch.zeros(5, 3)).item() == pytest.approx(3 * math.log(2))


def test_the_entropy_of_lfq_makes_no_table_of_latents_by_codes():
    latents, bits = 5_000, 16
    quantizer = make_quantizer(LfqSpec(codebook_size=2**bits), bits)
    z = torch.randn(1, bits, latents, requires_grad=True)
    with LargestTensor() as largest:
        out = quantizer(z)
        (out.values.sum() + sum(out.losses.values())).backward()
    # sqrt(K) a latent, and twice that while the words of half the bits are put together
    assert largest.elements <= 2 * latents * 2 ** (bits // 2) < latents * 2**bits / 100


def test_signs_of_lfq():
    quantizer = make_quantizer(LfqSpec(codebook_size=8), 3)
    out = quantizer(torch.tensor([[0.3, -2.0, 0.0], [-0.1, 5.0, 1.0]]).T[None])
    assert out.values[0].T.tolist() == [[1, -1, -1], [-1, 1, 1]]
    assert out.tokens[0].tolist() == [[0b100, 0b011]]


def test_spherical_codes_have_length_one():
    quantizer = make_quantizer(LfqSpec(codebook_size=32, spherical=True), 5)
    values = quantizer(7 * torch.randn(2, 5, 9)).values
    torch.testing.assert_close(values.norm(dim=1), torch.ones(2, 9))


def test_unusable_sizes_say_what_to_use():
    with pytest.raises(ValidationError, match="1000 is no power of two: use 512 or 1024"):
        LfqSpec(codebook_size=1000)
    with pytest.raises(ValidationError, match="make 25600000 codes, at most 16777216"):
        FsqSpec(levels=(40, 40, 40, 40, 10))


def test_entropy_of_fsq_is_that_of_the_mean_over_latents():
    """Brute force over all combinations of levels."""
    counts, position = (3, 2, 4), 2 * torch.rand(50, 3)
    table = torch.zeros(counts)
    for x in position:
        soft = [torch.softmax(-2 * (v - torch.arange(n)) ** 2, 0) for v, n in zip(x, counts, strict=True)]
        table += torch.einsum("a,b,c->abc", *soft) / len(position)
    expected = -(table * table.log()).sum()
    torch.testing.assert_close(fsq.mean_code_entropy(position, counts), expected)


def test_entropy_spreads_latents_over_the_levels_of_fsq():
    """Latents that lie on one code before come to use nearly all."""
    z = torch.nn.Parameter(0.01 * torch.randn(1, 2, 600))
    quantizer = make_quantizer(FsqSpec(levels=(5, 4), entropy_weight=1), 2)
    optimizer = torch.optim.Adam([z], lr=0.03)
    before = quantizer(z).stats["codes_used"].item()
    for _ in range(150):
        optimizer.zero_grad()
        quantizer(z).losses["entropy"].backward()
        optimizer.step()
    assert before < 0.5
    assert quantizer(z).stats["codes_used"].item() >= 0.95


def test_fsq_as_published_has_no_loss():
    assert make_quantizer(FsqSpec(levels=(5, 4), entropy_weight=0), 2)(torch.randn(1, 2, 9)).losses == {}
