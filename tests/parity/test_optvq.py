"""Our OptVQ with the published OptVQ's weights gives its plan, tokens, values, losses and gradients.

The reference weighs its codebook term with beta, we the commitment: terms are compared by name.
"""

import pytest
import torch

from anycodec.config.quantizer import OptVqSpec
from anycodec.torch.quantizers import make_quantizer
from anycodec.torch.quantizers.sinkhorn import Transport
from parity.goldens import assert_equal_to_scale, load_golden

CASES = {"04_optvq_image": 1.0, "04_optvq_sequence": 0.25}
"""Golden -> the beta of its codebook term."""
COSTS = {"all": "all", "dim": "dim", "null": "none"}

every_case = pytest.mark.parametrize("case", CASES)
every_cost = pytest.mark.parametrize("cost", COSTS)


def load(case, **settings):
    """Our quantizer with a case's weights, and the golden's tensors."""
    weights, io = load_golden(case)
    size, dim = weights["embedding.weight"].shape
    spec = OptVqSpec(codebook_size=size, beta=1.0, projection="proj.weight" in weights, **settings)
    quantizer = make_quantizer(spec.model_copy(update={"kmeans_init": False}), dim)
    theirs = {"codebook": "embedding.weight", "linear.weight": "proj.weight", "linear.bias": "proj.bias"}
    state = {name: weights[theirs[name]] for name, _ in quantizer.named_parameters()}
    quantizer.load_state_dict(state, strict=False)
    return quantizer, io


def channels_first(x):
    """The golden's [B C H W] as it is, its [B T C] as [B C T]."""
    return x if x.dim() == 4 else x.mT


def grid(indices):
    """The golden's [B 1 H W] or [B T 1] without the axis of heads."""
    return indices[:, 0] if indices.dim() == 4 else indices[..., 0]


def check(quantizer, io, case, loss, expected):
    """Tokens, values, loss and gradients of sum(values * R) + loss against `out.<expected>.*`."""
    kind = expected.rpartition(".")[0]
    x = io["in.x"].requires_grad_()
    out = quantizer(channels_first(x))
    assert torch.equal(out.tokens[0], grid(io[f"out.{kind}.indices"]))
    assert_equal_to_scale(channels_first(out.values), io[f"out.{kind}.x_q"])
    terms = dict(out.losses)
    if loss != "ce":
        terms["codebook"] = CASES[case] * terms["codebook"]
    total = sum(terms.values())
    assert_equal_to_scale(total, io[f"out.{expected}.loss"])
    ((channels_first(out.values) * io["in.R"]).sum() + total).backward()
    assert_equal_to_scale(x.grad, io[f"out.{expected}.grad_x"])
    assert_equal_to_scale(quantizer.codebook.grad, io[f"out.{expected}.grad_embedding"])
    if quantizer.linear is not None and f"out.{expected}.grad_proj_weight" in io:
        assert_equal_to_scale(quantizer.linear.weight.grad, io[f"out.{expected}.grad_proj_weight"])


@every_case
@every_cost
@pytest.mark.parametrize("loss", ["l2", "l1", "ce"])
def test_training(case, cost, loss):
    quantizer, io = load(case, cost=COSTS[cost], loss=loss)
    check(quantizer.train(), io, case, loss, f"sink.{cost}.{loss}")


@every_case
@pytest.mark.parametrize("loss", ["l2", "l1", "ce"])
def test_evaluation_takes_the_nearest_code(case, loss):
    quantizer, io = load(case, loss=loss)
    check(quantizer.eval(), io, case, loss, f"plain.{loss}")


@every_case
@every_cost
def test_plan(case, cost):
    quantizer, io = load(case)
    assert_equal_to_scale(quantizer.codes(), io["out.codebook"])
    z = channels_first(io["in.x"]).movedim(1, -1).flatten(0, -2)
    with torch.no_grad():
        plan = Transport(z, quantizer.codes(), epsilon=10.0, iterations=5, unit=COSTS[cost]).plan()
    assert_equal_to_scale(plan, io[f"out.sink.{cost}.Q"])
