"""Bottlenecks without tokens."""

import pytest
import torch

from anycodec.config.quantizer import KlSpec, NoneSpec
from anycodec.torch.layers.gaussian import DiagonalGaussian
from anycodec.torch.quantizers import make_quantizer


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def moments(mean, variance, count=1):
    values = torch.tensor([mean, variance]).log() * torch.tensor([0.0, 1.0]) + torch.tensor([mean, 0.0])
    return values[None, :, None].expand(1, 2, count)


@pytest.mark.parametrize(
    ("mean", "variance", "nats"),
    [(1e-9, 1.0, 0.0), (2.0, 1.0, 2.0), (1e-9, 4.0, 0.5 * (4 - 1 - 1.386294361)), (1.0, 0.25, 0.818147181)],
)
def test_divergence_from_the_standard_normal(mean, variance, nats):
    assert DiagonalGaussian(moments(mean, variance)).kl().item() == pytest.approx(nats, abs=1e-6)


def test_samples_have_the_mean_and_the_variance():
    samples = DiagonalGaussian(moments(3.0, 0.25, count=100_000)).sample()
    assert samples.mean().item() == pytest.approx(3, abs=0.01)
    assert samples.var().item() == pytest.approx(0.25, rel=0.02)


def test_extreme_logarithms_of_variances_stay_finite():
    posterior = DiagonalGaussian(torch.tensor([[0.0, 0.0, 1e4, -1e4]])[..., None])
    assert torch.isfinite(posterior.kl()).all()
    assert torch.isfinite(posterior.sample()).all()


def test_kl_samples_in_training_and_gives_the_mean_in_evaluation():
    quantizer = make_quantizer(KlSpec(weight=0.5), 4)
    z = torch.randn(2, 4, 7)
    noise = quantizer(z).values - quantizer(z).values
    # two draws of standard deviation exp(-6 / 2)
    assert noise.std().item() == pytest.approx(2**0.5 * 0.0498, rel=0.2)
    assert torch.equal(quantizer.eval()(z).values, z), "the map starts as the identity"


def test_the_term_of_kl_is_a_weighted_mean():
    quantizer = make_quantizer(KlSpec(weight=0.5), 4)
    z = torch.randn(2, 4, 7)
    variance = torch.exp(torch.tensor(-6.0))
    expected = 0.5 * (0.5 * (z.square() + variance - 1 + 6)).mean()
    torch.testing.assert_close(quantizer(z).losses["kl"], expected)


def test_none_leaves_latents_alone():
    quantizer = make_quantizer(NoneSpec(), 4)
    z = torch.randn(2, 4, 7)
    out = quantizer(z)
    assert out.values is z
    assert out.tokens == quantizer.codebook_sizes == ()
    with pytest.raises(TypeError, match="no tokens to look up"):
        quantizer.lookup(())
