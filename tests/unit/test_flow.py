"""Rectified flow and its solvers against what is known in closed form."""

import math

import pytest
import torch

from anycodec.config.process import FlowSpec
from anycodec.config.sampler import EulerSpec, HeunSpec
from anycodec.errors import UserError
from anycodec.torch.processes import make_process
from anycodec.torch.processes.flow import Flow
from anycodec.torch.samplers.euler import euler
from anycodec.torch.samplers.heun import heun
from anycodec.torch.samplers.times import shifted_times

MEAN, DEVIATION = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.5])


def gaussian_velocity(x, t, labels=None):
    """E[x1 - x0 | x_t = x] for data N(m, s^2): m + (t s^2 - (1 - t)) / (t^2 s^2 + (1 - t)^2) (x - t m)."""
    mean, variance, t = MEAN[:, None], DEVIATION[:, None] ** 2, t[:, None, None]
    slope = (t * variance - (1 - t)) / (t**2 * variance + (1 - t) ** 2)
    return mean + slope * (x - t * mean)


def transported(noise):
    """Where the flow of that velocity takes noise: m + s noise."""
    return MEAN[:, None] + DEVIATION[:, None] * noise


def noise(n=4096, positions=3):
    return torch.randn(n, 2, positions, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sampler", [EulerSpec(steps=400), HeunSpec(steps=50)], ids=lambda s: s.type)
def test_the_optimal_velocity_of_a_gaussian_gives_its_mean_and_variance(sampler):
    x = make_process(FlowSpec()).sample(gaussian_velocity, noise(), sampler)
    count = x[:, 0].numel()
    for channel in range(2):
        error = 4 * float(DEVIATION[channel]) / math.sqrt(count)
        assert float(x[:, channel].mean()) == pytest.approx(float(MEAN[channel]), abs=error + 0.01)
        assert float(x[:, channel].std()) == pytest.approx(float(DEVIATION[channel]), rel=0.03)


@pytest.mark.parametrize(("solver", "order"), [(euler, 1), (heun, 2)])
def test_order_of_convergence(solver, order):
    """Halving the steps divides the error by 2^order."""
    start = noise(8).double()

    def error(steps):
        times = shifted_times(steps, 1.0).double()
        return float((solver(gaussian_velocity, start, times) - transported(start)).abs().max())

    for steps in (64, 128):
        assert math.log2(error(steps) / error(2 * steps)) == pytest.approx(order, abs=0.12)


@pytest.mark.parametrize(("solver", "evaluations"), [(EulerSpec(steps=6), 6), (HeunSpec(steps=6), 12)])
def test_evaluations_a_sample(solver, evaluations):
    calls = []
    Flow(FlowSpec()).sample(lambda x, t: calls.append(t) or x, noise(2), solver)
    assert len(calls) == evaluations


def test_straight_paths_need_one_step():
    """A velocity that does not change along the way is followed exactly, whatever the steps."""
    start, target = noise(4), torch.full((4, 2, 3), 5.0)
    for sampler in (EulerSpec(steps=1), HeunSpec(steps=1), EulerSpec(steps=7)):
        x = Flow(FlowSpec()).sample(lambda x, t: target - start, start, sampler)
        torch.testing.assert_close(x, target)


@pytest.mark.parametrize("shift", [0.1, 0.3, 1.0, 3.0])
def test_shifted_times(shift):
    times = shifted_times(10, shift)
    assert times[0] == 0
    assert times[-1] == 1
    assert (times.diff() > 0).all()
    assert float(times[5]) == pytest.approx(shift / (1 + shift))


def test_the_optimal_velocity_has_the_least_loss():
    """A generator that gives the conditional mean of x1 - x0 cannot be bettered by scaling or shifting it."""
    x = transported(noise(4096))

    def loss(change):
        flow, random = Flow(FlowSpec(direction_weight=0)), torch.Generator().manual_seed(1)
        terms = flow.loss(lambda *given: change(gaussian_velocity(*given)), x, None, random)
        assert list(terms) == ["velocity"]
        return float(terms["velocity"])

    best = loss(lambda v: v)
    assert loss(lambda v: 1.1 * v) > best
    assert loss(lambda v: 0.9 * v) > best
    assert loss(lambda v: v + 0.1) > best


def test_direction_term():
    """0 for parallel, 1 for orthogonal, 2 for opposite velocities, times its weight."""
    x, origin, t = torch.zeros(5, 2, 3), torch.zeros(5, 2, 3), torch.rand(5)
    x[:, 0] = 1
    orthogonal = x.roll(1, dims=1)
    flow = Flow(FlowSpec(direction_weight=0.5))
    for prediction, expected in ((3 * x, 0.0), (orthogonal, 0.5), (-x, 1.0)):
        terms = flow.loss_at(lambda *_, v=prediction: v, x, None, origin, t)
        assert float(terms["direction"]) == pytest.approx(expected, abs=1e-6)


def test_paths_run_from_noise_to_data():
    x, start = noise(3), noise(3) + 9
    seen = []
    Flow(FlowSpec()).loss_at(
        lambda x_t, t, labels: seen.append(x_t) or x_t, x, None, start, torch.tensor([0.0, 0.25, 1.0])
    )
    torch.testing.assert_close(seen[0][0], start[0])
    torch.testing.assert_close(seen[0][1], 0.25 * x[1] + 0.75 * start[1])
    torch.testing.assert_close(seen[0][2], x[2])


def test_times_are_logit_normal():
    """The share of times below sigmoid(mean + std z) is that of normal variables below z."""
    spec, seen = FlowSpec(mean=0.7, std=1.4), []
    random = torch.Generator().manual_seed(0)
    Flow(spec).loss(lambda x, t, labels: seen.append(t) or x, torch.zeros(20000, 1, 1), None, random)
    for z, share in ((-1.0, 0.15866), (0.0, 0.5), (1.0, 0.84134)):
        below = (seen[0] < 1 / (1 + math.exp(-spec.mean - spec.std * z))).float().mean()
        assert float(below) == pytest.approx(share, abs=0.015)


def test_a_seed_decides_times_and_noise():
    flow, x = Flow(FlowSpec()), noise(16)
    losses = [
        float(flow.loss(gaussian_velocity, x, None, torch.Generator().manual_seed(seed))["velocity"])
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_a_sampler_of_another_process_is_refused():
    class Other:
        type = "ddim"

    with pytest.raises(UserError, match="ddim cannot run a flow"):
        Flow(FlowSpec()).sample(gaussian_velocity, noise(1), Other())
