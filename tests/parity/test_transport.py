"""Our rectified flow gives the losses, gradients, times and trajectories of LightningDiT's transport."""

import pytest
import torch
import torch.nn.functional as F

from anycodec.config.process import FlowSpec
from anycodec.config.sampler import EulerSpec
from anycodec.torch.processes.flow import Flow
from anycodec.torch.samplers.times import shifted_times
from parity.goldens import assert_equal_to_scale, load_golden

POINTS = 8


class Field(torch.nn.Module):
    """The toy velocity of the golden: 1.5 tanh(A x + t b + c)."""

    n_classes = 0

    def __init__(self, weights):
        super().__init__()
        self.A, self.b, self.c = (torch.nn.Parameter(weights[f"field.{name}"]) for name in "Abc")

    def forward(self, x, t, labels=None):
        bias = (t[:, None] * self.b + self.c)[:, :, None, None]
        return 1.5 * torch.tanh(F.conv2d(x, self.A[:, :, None, None]) + bias)


@pytest.fixture
def case():
    weights, io = load_golden("06_transport")
    return Field(weights), io


def test_loss_and_gradient(case):
    field, io = case
    terms = Flow(FlowSpec()).loss_at(field, io["in.x1"], None, io["in.x0"], io["in.t"])
    name = "out.Linear.velocity.none"
    assert_equal_to_scale(terms["velocity"], io[f"{name}.loss"].mean())
    assert_equal_to_scale(terms["direction"], io[f"{name}.cos_loss"].mean())
    total = sum(terms.values())
    assert_equal_to_scale(total, io[f"{name}.total"])
    total.backward()
    assert_equal_to_scale(field.A.grad, io[f"{name}.grad_field_A"])


@pytest.mark.parametrize("mean", [0.0, 0.5])
def test_logit_normal_times(case, monkeypatch, mean):
    _, io = case
    drawn = io["in.normal"].float()
    monkeypatch.setattr(torch, "randn", lambda size, **options: drawn if size == 64 else torch.zeros(size))
    seen = []
    Flow(FlowSpec(mean=mean)).loss(lambda x, t, labels: seen.append(t) or x, torch.ones(64, 1, 2), None)
    assert_equal_to_scale(seen[0], io[f"out.t_logit_normal.mu{mean}"])


@pytest.mark.parametrize("shift", [0.3, 1.0])
def test_euler(case, shift):
    field, io = case
    assert_equal_to_scale(shifted_times(POINTS - 1, shift), io[f"out.grid.shift{shift}"])
    times = []

    def predict(x, t):
        times.append(t[0])
        return field(x, t)

    found = Flow(FlowSpec()).sample(predict, io["in.init"], EulerSpec(steps=POINTS - 1, shift=shift))
    assert_equal_to_scale(found, io[f"out.traj.euler.shift{shift}"][-1])
    assert_equal_to_scale(torch.stack(times), io[f"out.traj.euler.shift{shift}.model_times"])


def test_no_shift_of_the_original_is_a_shift_of_one(case):
    _, io = case
    assert_equal_to_scale(shifted_times(POINTS - 1, 1.0), io["out.grid.shift0.0"])
