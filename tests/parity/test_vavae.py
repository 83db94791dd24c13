"""Our KL autoencoder with VA-VAE's weights gives its moments, latents, pictures and gradients."""

import pytest
import torch

from parity.goldens import assert_equal_to_scale, imported, load_golden


@pytest.fixture
def case():
    weights, io = load_golden("07_vavae_autoencoder")
    return imported("lightningdit-vavae", weights), io


@pytest.fixture
def sampling(case, monkeypatch):
    """The case in training mode, with the reference's noise."""
    codec, io = case
    monkeypatch.setattr(torch, "randn_like", lambda like: io["in.eps"])
    return codec.train(), io


def test_mode(case):
    codec, io = case
    out = codec(io["in.x"])
    assert out.tokens == ()
    assert_equal_to_scale(codec.encoder(io["in.x"]), io["out.h_enc"])
    assert_equal_to_scale(codec.latents(io["in.x"]), io["out.mode"])
    assert_equal_to_scale(out.reconstruction, io["out.recon_mode"])
    assert_equal_to_scale(codec.decode_latents(io["out.mean"]), io["out.recon_mode"])


def test_sample(sampling):
    codec, io = sampling
    assert_equal_to_scale(codec.latents(io["in.x"]), io["out.z_sample"])
    assert_equal_to_scale(codec(io["in.x"]).reconstruction, io["out.recon"])


def test_gradients(sampling):
    """The reference sums the KL divergence over elements; ours is a mean over all of them."""
    codec, io = sampling
    x = io["in.x"].requires_grad_()
    out = codec(x)
    kl = out.losses["kl"] / codec.quantizer.weight * io["out.mean"].numel()
    assert_equal_to_scale(kl, io["out.kl"].sum())
    ((out.reconstruction * io["in.R"]).sum() + kl / len(x)).backward()
    assert_equal_to_scale(x.grad, io["out.grad_x"])
    gradient = codec.quantizer.moments.weight.grad[:, :, None, None]
    assert_equal_to_scale(gradient, io["out.grad_quant_conv_weight"])
    assert_equal_to_scale(codec.decoder.post_quant_conv.weight.grad, io["out.grad_post_quant_conv_weight"])
