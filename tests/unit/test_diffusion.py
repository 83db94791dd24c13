"""Denoising diffusion against closed forms for Gaussian data, and against diffusers' own loops."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from torch import nn

from anycodec.config.generator import DitSpec
from anycodec.config.process import DiffusionSpec
from anycodec.config.sampler import DdimSpec, DdpmSpec, DpmSpec, EulerSpec
from anycodec.errors import UserError
from anycodec.torch.generators import make_generator
from anycodec.torch.generators.guidance import guided
from anycodec.torch.processes import make_process
from anycodec.torch.processes.chain import data_powers, visited
from anycodec.torch.samplers.noise import streams

TARGETS = ("eps", "v", "x0")
BETAS = ("linear", "scaled_linear", "squared_cosine")
MEAN, DEVIATION = 0.7, 0.4


def process(betas="linear", target="eps"):
    return make_process(DiffusionSpec(betas=betas, target=target))


def scales(powers, t, x):
    """sqrt(p_k) and sqrt(1 - p_k) at t = 1 - (k + 1) / 1000."""
    k = torch.round(1000 * (1 - t)).long() - 1
    p = powers[k].float().view(-1, *[1] * (x.dim() - 1))
    return p.sqrt(), (1 - p).sqrt()


def predicted(target, noise, a, s, x):
    """The target where x_k = a data + s noise."""
    data = (x - s * noise) / a
    return {"eps": noise, "x0": data, "v": a * noise - s * data}[target]


def optimal(powers, target="eps", mean=MEAN, deviation=DEVIATION):
    """What minimises the loss on data that are N(mean, deviation^2)."""

    def predict(x, t):
        a, s = scales(powers, t, x)
        noise = s * (x - a * mean) / (a**2 * deviation**2 + s**2)
        return predicted(target, noise, a, s, x)

    return predict


def wild(powers, target):
    """A predictor of noise that is no linear function, in terms of the target."""

    def predict(x, t):
        a, s = scales(powers, t, x)
        return predicted(target, torch.tanh(x) + 0.1 * x.roll(1, -1), a, s, x)

    return predict


def start(batch=8, shape=(2, 4, 4)):
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("betas", BETAS)
def test_the_chain_is_that_of_diffusers(betas):
    name, first, last = {
        "linear": ("linear", 1e-4, 0.02),
        "scaled_linear": ("scaled_linear", 0.0015, 0.0195),
        "squared_cosine": ("squaredcos_cap_v2", 0, 0),
    }[betas]
    theirs = DDPMScheduler(beta_schedule=name, beta_start=first, beta_end=last)
    torch.testing.assert_close(data_powers(betas).float(), theirs.alphas_cumprod, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("betas", BETAS)
def test_sampling_walks_evenly_to_the_data(betas):
    powers = data_powers(betas)
    for steps in (1, 2, 7, 50, 333, 900):
        ks = visited(powers, steps)
        gaps = [a - b for a, b in zip(ks, [*ks[1:], -1], strict=True)]
        assert len(ks) == steps
        assert max(gaps) - min(gaps) <= 1
        assert min(gaps) >= 1


class Fixed(nn.Module):
    """Predicts a multiple of what it is shown."""

    n_classes = 0

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x, t, labels):
        return self.factor(x, t) * x


@pytest.mark.parametrize("betas", BETAS)
def test_the_loss_of_the_best_guess_on_standard_normal_data(betas):
    """x_k is then standard normal too; the noise keeps the variance p_k, the data 1 - p_k, v all of 1."""
    powers = data_powers(betas)
    x, labels = start(20000, (2, 2)), torch.zeros(20000, dtype=torch.long)
    best = {
        "eps": (lambda x, t: scales(powers, t, x)[1], powers.mean()),
        "x0": (lambda x, t: scales(powers, t, x)[0], (1 - powers).mean()),
        "v": (lambda x, t: torch.zeros(()), torch.ones(())),
    }
    for target, (factor, expected) in best.items():
        terms = process(betas, target).loss(Fixed(factor), x, labels, torch.Generator().manual_seed(2))
        assert list(terms) == ["mse"]
        assert terms["mse"].item() == pytest.approx(expected.item(), rel=0.03)


def test_the_loss_draws_from_the_given_source():
    x, labels = start(), torch.zeros(8, dtype=torch.long)
    net = Fixed(lambda x, t: torch.ones(()))
    a, b, c = (process().loss(net, x, labels, torch.Generator().manual_seed(i))["mse"] for i in (3, 3, 4))
    assert a == b != c


@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize("sampler", [DdimSpec(steps=300), DpmSpec(steps=60), DpmSpec(steps=60, order=3)])
def test_deterministic_samplers_follow_the_exact_flow(betas, sampler):
    """The flow from noise to N(m, d^2) keeps z = (x_k - a m) / sqrt(a^2 d^2 + s^2).

    The last step, to the data in one go, gives their mean m + d z / sqrt(1 + s^2 / (a d)^2).
    """
    powers, noise = data_powers(betas), start()
    ks = visited(powers, sampler.steps)
    first, last = float(powers[ks[0]]), float(powers[ks[-1]])
    z = (noise - math.sqrt(first) * MEAN) / math.sqrt(first * DEVIATION**2 + 1 - first)
    expected = MEAN + DEVIATION * z / math.sqrt(1 + (1 - last) / (last * DEVIATION**2))
    samples = process(betas).sample(optimal(powers), noise, sampler)
    torch.testing.assert_close(samples, expected, rtol=0, atol=0.03)


@pytest.mark.parametrize("sampler", [DdpmSpec(steps=300), DdimSpec(steps=200, eta=0.5)])
def test_random_samplers_give_mean_and_deviation_of_the_data(sampler):
    predict = optimal(data_powers("linear"), deviation=1)
    samples = process().sample(predict, start(10, (2, 40, 40)), sampler)
    assert samples.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert samples.std().item() == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("sampler", [DdimSpec(steps=20), DdpmSpec(steps=20), DpmSpec(steps=20)])
def test_targets_agree_with_each_other(sampler):
    powers = data_powers("scaled_linear")
    eps, v, x0 = (
        process("scaled_linear", target).sample(wild(powers, target), start(), sampler) for target in TARGETS
    )
    torch.testing.assert_close(v, eps, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(x0, eps, rtol=2e-3, atol=2e-3)


TYPES = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("sampler", [DdimSpec(steps=50), DdpmSpec(steps=50), DpmSpec(steps=40)])
def test_the_loop_of_diffusers_gives_the_same(sampler, target):
    powers, noise = data_powers("linear"), start()
    settings = {"beta_schedule": "linear", "prediction_type": TYPES[target], "timestep_spacing": "trailing"}
    random = {}
    if isinstance(sampler, DpmSpec):
        scheduler = DPMSolverMultistepScheduler(**settings)
    else:
        ancestral = isinstance(sampler, DdpmSpec)
        scheduler = (DDPMScheduler if ancestral else DDIMScheduler)(clip_sample=False, **settings)
        random = {"generator": streams(noise)} if ancestral else {}
    predict, x = wild(powers, target), noise
    scheduler.set_timesteps(sampler.steps)
    for k in scheduler.timesteps:
        t = torch.full((len(x),), 1 - (int(k) + 1) / 1000)
        x = scheduler.step(predict(x, t), k, x, **random).prev_sample
    ours = process(target=target).sample(predict, noise, sampler)
    torch.testing.assert_close(ours, x, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("sampler", [DdimSpec(steps=5), DdpmSpec(steps=5), DpmSpec(steps=5)])
def test_a_sample_depends_on_its_own_noise_alone(sampler):
    powers, noise = data_powers("linear"), start()
    together = process().sample(wild(powers, "eps"), noise, sampler)
    torch.testing.assert_close(process().sample(wild(powers, "eps"), noise[5:6], sampler), together[5:6])
    assert torch.equal(process().sample(wild(powers, "eps"), noise, sampler), together)


class TwoClasses(nn.Module):
    """The best predictor where class 0 is N(-1, 1), class 1 is N(1, 1), and no label means N(0, 1)."""

    n_classes = 2

    def forward(self, x, t, labels):
        mean = torch.tensor([-1.0, 1.0, 0.0])[labels].view(-1, 1, 1, 1)
        a, s = scales(data_powers("linear"), t, x)
        return s * (x - a * mean)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_guidance_moves_the_mean(scale):
    """Mixing these predictions is the prediction for a mean of `scale` times the class's."""
    predict = guided(TwoClasses(), torch.tensor([0, 1]).repeat(50), scale)
    samples = process().sample(predict, start(100, (1, 10, 10)), DdimSpec(steps=100))
    assert samples[1::2].mean().item() == pytest.approx(scale, abs=0.05)
    assert samples[::2].mean().item() == pytest.approx(-scale, abs=0.05)


def test_what_a_diffusion_cannot_do():
    predict = optimal(data_powers("linear"))
    with pytest.raises(UserError, match="use ddim, dpm, ddpm"):
        process().sample(predict, start(), EulerSpec())
    with pytest.raises(UserError, match="use at most 1000"):
        process().sample(predict, start(), DdimSpec(steps=1001))


def test_a_transformer_over_series_learns_by_diffusion_too():
    torch.manual_seed(0)
    net = make_generator(DitSpec(width=16, depth=1, heads=1), (3, 8), 2)
    x, labels = start(4, (3, 8)), torch.tensor([0, 1, 2, 0])
    loss = process(target="v").loss(net, x, labels)["mse"]
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    samples = process(target="v").sample(guided(net, labels, 2.0), start(4, (3, 8)), DpmSpec(steps=4))
    assert samples.shape == (4, 3, 8)
    assert torch.isfinite(samples).all()
