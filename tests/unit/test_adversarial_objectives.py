"""Adversarial objectives, penalty, feature matching and adaptive weight against values worked out by hand."""

import math

import pytest
import torch

from anycodec.torch.adversarial.matching import feature_matching
from anycodec.torch.adversarial.objectives import make_objective
from anycodec.torch.adversarial.penalty import between, gradient_penalty
from anycodec.torch.adversarial.weight import adaptive_weight
from anycodec.torch.discriminators import Judgement
from anycodec.torch.discriminators.actnorm import ActNorm

REAL, FAKE = torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 1.0])


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("hinge", ((0 + 1) / 2 + (0 + 2) / 2) / 2, 1.0),
        (
            "vanilla",
            (math.log1p(math.exp(-2)) + math.log(2) + math.log1p(math.exp(-3)) + math.log1p(math.exp(1))) / 4,
            (math.log1p(math.exp(3)) + math.log1p(math.exp(-1))) / 2,
        ),
        ("least_squares", ((1 + 1) / 2 + (9 + 1) / 2) / 2, (16 + 0) / 2 / 2),
        ("wgan", -1.0 - 1.0, 1.0),
    ],
)
def test_objectives(name, discriminator, generator):
    objective = make_objective(name)
    assert objective.discriminator(REAL, FAKE).item() == pytest.approx(discriminator)
    assert objective.generator(FAKE).item() == pytest.approx(generator)


def test_vanilla_stays_finite():
    """softplus, not the logarithm of a sigmoid: logits of 1,000 neither overflow nor lose their gradient."""
    fake = torch.tensor([-1000.0], requires_grad=True)
    loss = make_objective("vanilla").generator(fake)
    loss.backward()
    assert (loss.item(), fake.grad.item()) == (1000.0, -1.0)


def slope(factor):
    """A linear critic: its slope is `factor` sqrt(C) everywhere."""
    return lambda x: Judgement(factor * x.sum(1, keepdim=True).flatten(1), ())


def test_penalty_of_a_linear_critic():
    """d/dx of 2 * (sum of 9 values) has norm 6, so the penalty is (6 - 1)^2 wherever the points lie."""
    real, fake = torch.randn(4, 1, 9), torch.randn(4, 1, 9)
    assert gradient_penalty(slope(2.0), real, fake).item() == pytest.approx(25)


def test_penalty_where_the_slope_is_zero():
    """A constant critic costs 1, and the norm's derivative at 0 is no NaN."""
    factor = torch.zeros((), requires_grad=True)
    penalty = gradient_penalty(slope(factor), torch.randn(2, 1, 9), torch.randn(2, 1, 9))
    penalty.backward()
    assert (penalty.item(), factor.grad.item()) == (1.0, 0.0)


def test_points_lie_between():
    real, fake = torch.ones(3, 2, 4), torch.zeros(3, 2, 4, requires_grad=True)
    points = between(real, fake, torch.tensor([0.0, 0.25, 1.0]))
    assert not points.requires_grad
    assert points[:, 0, 0].tolist() == [0.0, 0.25, 1.0]


def test_penalty_draws_from_its_generator():
    def curved(x):
        return Judgement(x.square().sum(1).flatten(1), ())

    real, fake = torch.ones(3, 2, 4), -torch.ones(3, 2, 4)
    first, second = (
        gradient_penalty(curved, real, fake, torch.Generator().manual_seed(3)).item() for _ in range(2)
    )
    other = gradient_penalty(curved, real, fake, torch.Generator().manual_seed(4)).item()
    assert first == second
    assert first != other


def test_feature_matching():
    """Each layer counts the same, whatever its size: (mean |1| + mean |3|) / 2."""
    real = (torch.zeros(2, 4, 8, requires_grad=True), torch.zeros(2, 8, 2))
    fake = (torch.ones(2, 4, 8, requires_grad=True), torch.full((2, 8, 2), -3.0))
    value = feature_matching(real, fake)
    assert value.item() == 2.0
    value.backward()
    assert real[0].grad is None
    assert fake[0].grad.sum().item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("reconstruction", "generator", "weight"),
    [
        ([3.0, 4.0], [0.0, 1.0], 5 / 1.0001),
        ([0.0, 0.0], [1.0, 0.0], 0.0),
        ([1e-3, 0.0], [0.0, 0.0], 10.0),
        ([1e4, 0.0], [0.0, 0.0], 1e4),
    ],
)
def test_adaptive_weight(reconstruction, generator, weight):
    found = adaptive_weight(torch.tensor(reconstruction, requires_grad=True), torch.tensor(generator))
    assert found.item() == pytest.approx(weight)
    assert not found.requires_grad


def test_actnorm_whitens_its_first_batch():
    norm = ActNorm(2)
    x = torch.tensor([[[1.0, 3.0], [10.0, 10.0]], [[1.0, 3.0], [30.0, 30.0]]])
    y = norm(x)
    expected = torch.tensor([[[-1.0, 1.0], [-1.0, -1.0]], [[-1.0, 1.0], [1.0, 1.0]]])
    assert torch.allclose(y, expected, atol=1e-5)
    assert torch.allclose(norm(2 * x)[0, 0], torch.tensor([0.0, 4.0]), atol=1e-5)
