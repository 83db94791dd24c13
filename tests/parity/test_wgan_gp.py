"""Our gradient penalty gives the values and second derivatives of two published WGAN-GP implementations."""

import pytest
import torch
from torch import nn

from anycodec.torch.adversarial.objectives import make_objective
from anycodec.torch.adversarial.penalty import between, slope_penalty
from anycodec.torch.discriminators import Judgement
from parity.goldens import assert_equal_to_scale, load_golden


@pytest.fixture
def case():
    weights, io = load_golden("11_wgan_gp")
    critic = nn.Sequential()
    critic.add_module("conv1", nn.Conv2d(2, 6, 4, 2, 1))
    critic.add_module("relu", nn.LeakyReLU(0.2))
    critic.add_module("conv2", nn.Conv2d(6, 12, 4, 2, 1))
    critic.add_module("tanh", nn.Tanh())
    critic.add_module("flat", nn.Flatten())
    critic.add_module("out", nn.Linear(48, 1))
    critic.load_state_dict(weights)
    return critic, io


def test_penalty(case):
    critic, io = case
    points = between(io["in.real"], io["in.fake"], io["in.alpha"][:, 0])
    assert_equal_to_scale(points, io["out.image.interpolates"])
    penalty = slope_penalty(lambda x: Judgement(critic(x), ()), points)
    assert_equal_to_scale(penalty, io["out.image.gp"])
    assert_equal_to_scale(10 * penalty, io["out.flat.gp_times_lambda"])
    first, last = critic.conv1.weight, critic.out.weight
    grads = torch.autograd.grad(penalty, (first, last), retain_graph=True)
    assert_equal_to_scale(grads[0], io["out.image.gp.grad_conv1_weight"])
    assert_equal_to_scale(grads[1], io["out.image.gp.grad_out_weight"])
    wgan = make_objective("wgan").discriminator(critic(io["in.real"]), critic(io["in.fake"]))
    loss = wgan + 10 * penalty
    assert_equal_to_scale(loss, io["out.image.d_loss"])
    (grad,) = torch.autograd.grad(loss, first)
    assert_equal_to_scale(grad, io["out.image.d_loss.grad_conv1_weight"])
