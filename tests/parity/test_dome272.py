"""Our VQGAN with the weights of dome272's gives its latents, tokens, pictures and gradients."""

import pytest
import torch

from parity.goldens import assert_equal_to_scale, imported, load_golden


@pytest.fixture
def case():
    weights, io = load_golden("09_dome272_vqgan")
    return imported("dome272", weights), io


def test_forward(case):
    codec, io = case
    out = codec(io["in.x"])
    assert_equal_to_scale(codec.encoder(io["in.x"]), io["out.z"])
    assert torch.equal(out.tokens[0], io["out.indices"])
    assert_equal_to_scale(codec.latents(io["in.x"]), io["out.z_q"])
    assert_equal_to_scale(out.reconstruction, io["out.recon"])
    assert_equal_to_scale(sum(out.losses.values()), io["out.q_loss"])


def test_gradients(case):
    """dome272 puts beta on the codebook term, so the golden's objective weights our terms the other way."""
    codec, io = case
    beta = 0.25
    x = io["in.x"].requires_grad_()
    out = codec(x)
    q_loss = out.losses["commitment"] / beta + beta * out.losses["codebook"]
    ((out.reconstruction * io["in.R"]).sum() + q_loss).backward()
    assert_equal_to_scale(x.grad, io["out.grad_x"])
    assert_equal_to_scale(codec.quantizer.codebook.grad, io["out.grad_codebook"])
