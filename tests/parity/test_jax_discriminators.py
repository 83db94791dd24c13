"""The jax engine's discriminators and what is trained on them are the torch engine's."""

import pytest
import torch

pytest.importorskip("jax", reason="the extra jax is not installed")

import jax
import jax.numpy as jnp

from anycodec.config.discriminator import PatchGanSpec, ResPatchGanSpec
from anycodec.errors import ConfigError
from anycodec.jax.adversarial import matching as twin_matching
from anycodec.jax.adversarial import objectives as twin_objectives
from anycodec.jax.adversarial import penalty as twin_penalty
from anycodec.jax.adversarial import weight as twin_weight
from anycodec.jax.discriminators import Judgement
from anycodec.jax.discriminators import make_discriminator as make_twin
from anycodec.torch.adversarial.matching import feature_matching
from anycodec.torch.adversarial.objectives import OBJECTIVES, make_objective
from anycodec.torch.adversarial.penalty import between, slope_penalty
from anycodec.torch.adversarial.weight import adaptive_weight
from anycodec.torch.discriminators import make_discriminator
from parity.jax_twins import (
    assert_equal_gradients,
    assert_equal_state,
    called,
    difference,
    load_twin,
    to_jax,
    windows,
)

RES = {"channels": (4, 8), "kernel": 7, "res_blocks": 1}
KINDS = {
    "group": ResPatchGanSpec(**RES, norm="group"),
    "none": ResPatchGanSpec(**RES | {"kernel": 6}, norm="none"),
    "instance": PatchGanSpec(base_channels=4, layers=2, norm="instance"),
    "batch": PatchGanSpec(base_channels=4, layers=2, norm="batch"),
}


@pytest.fixture(params=KINDS)
def twins(request):
    torch.manual_seed(0)
    net = make_discriminator(KINDS[request.param], 2, 1)
    for parameter in net.parameters():  # as they start, norms hide their gain and logits are near zero
        torch.nn.init.normal_(parameter, 0.1, 0.3)
    return net, load_twin(make_twin(KINDS[request.param], 2, seed=0), net)


def test_judgement_and_gradients(twins):
    """Hinge and feature matching together reach every parameter, through logits and through features."""
    net, twin = twins
    x, y = windows(2, 2, 64), windows(2, 2, 64, seed=1)
    real, fake = net(torch.from_numpy(x)), net(torch.from_numpy(y))
    value = make_objective("hinge").discriminator(real.logits, fake.logits)
    value = value + feature_matching(real.features, fake.features)

    def twin_value(module):
        real, fake = module(to_jax(x)), module(to_jax(y))
        hinge = twin_objectives.make_objective("hinge").discriminator(real.logits, fake.logits)
        return hinge + twin_matching.feature_matching(real.features, fake.features)

    assert_equal_gradients(net, value, twin, twin_value)
    found = called(twin, lambda module: (module(to_jax(x)), module(to_jax(y))))
    assert_equal_state(twin, net)
    for judgement, expected in zip(found, (real, fake), strict=True):
        assert difference(judgement.logits, expected.logits) < 1e-4
        assert len(judgement.features) == len(expected.features)
        for feature, wanted in zip(judgement.features, expected.features, strict=True):
            assert difference(feature, wanted) < 1e-4


def test_gradient_penalty():
    """Its second derivatives too."""
    torch.manual_seed(0)
    net = make_discriminator(KINDS["instance"], 2, 1)
    twin = load_twin(make_twin(KINDS["instance"], 2, seed=0), net)
    x, y, share = windows(3, 2, 48), windows(3, 2, 48, seed=1), windows(3, seed=2)
    points = between(*(torch.from_numpy(part) for part in (x, y, share)))
    assert difference(twin_penalty.between(x, y, share), points) < 1e-6
    value = slope_penalty(net, points)

    def twin_value(module):
        return twin_penalty.slope_penalty(module, to_jax(points))

    assert_equal_gradients(net, value, twin, twin_value)


def test_points_of_the_penalty_lie_between():
    """Of D(x) = x^2 / 2 the slope is the point itself, which lies between 1 and -1 on all samples alike."""
    real, fake = jnp.ones((50, 1, 4)), -jnp.ones((50, 1, 4))

    def critic(points):
        return Judgement(jnp.square(points) / 2, ())

    # |slope| = 2 |2 u - 1| with u uniform: E (|slope| - 1)^2 = 1/3
    penalty = twin_penalty.gradient_penalty(critic, real, fake, jax.random.key(0))
    assert float(penalty) == pytest.approx(1 / 3, abs=0.1)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives(name):
    real, fake = windows(2, 1, 9), windows(2, 1, 9, seed=1)
    objective, twin = make_objective(name), twin_objectives.make_objective(name)
    expected = objective.discriminator(torch.from_numpy(real), torch.from_numpy(fake))
    assert float(twin.discriminator(real, fake)) == pytest.approx(float(expected), rel=1e-5)
    expected = objective.generator(torch.from_numpy(fake))
    assert float(twin.generator(fake)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_adaptive_weight(scale):
    """Where the generator has no gradient, the largest weight."""
    pull, push = windows(3, 4), scale * windows(3, 4, seed=1)
    expected = adaptive_weight(torch.from_numpy(pull), torch.from_numpy(push))
    assert float(twin_weight.adaptive_weight(pull, push)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("spec", "setting"),
    [
        (ResPatchGanSpec(spectral_norm=True), "adversarial.discriminator.spectral_norm"),
        (PatchGanSpec(norm="actnorm"), "adversarial.discriminator.norm"),
    ],
)
def test_what_only_torch_has_is_refused(spec, setting):
    with pytest.raises(ConfigError) as error:
        make_twin(spec, 1, seed=0)
    assert setting in str(error.value)
    assert "engine=torch" in str(error.value)
