"""Our VQGAN with the weights of diffusers' VQModel gives its latents, tokens, pictures and gradients."""

import pytest
import torch

from parity.goldens import assert_equal_to_scale, imported, load_golden


@pytest.fixture
def case():
    weights, io = load_golden("08_diffusers_vqmodel")
    return imported("diffusers", weights, {"norm_num_groups": 8}), io


def test_forward(case):
    codec, io = case
    out = codec(io["in.x"])
    z = codec.encoder(io["in.x"])
    assert_equal_to_scale(z, io["out.z"])
    assert torch.equal(out.tokens[0], io["out.indices"])
    assert_equal_to_scale(codec.latents(io["in.x"]), io["out.z_q"])
    assert_equal_to_scale(out.reconstruction, io["out.recon"])
    assert_equal_to_scale(codec.decode_latents(z), io["out.recon_not_quantized"])
    assert_equal_to_scale(codec.decode(out.tokens), io["out.recon_from_indices"])
    assert_equal_to_scale(sum(out.losses.values()), io["out.commit_loss.legacy_false"])


def test_gradients(case):
    """With beta on the commitment term, which diffusers calls `legacy = False`."""
    codec, io = case
    x = io["in.x"].requires_grad_()
    out = codec(x)
    ((out.reconstruction * io["in.R"]).sum() + sum(out.losses.values())).backward()
    assert_equal_to_scale(x.grad, io["out.grad_x.legacy_false"])
    assert_equal_to_scale(codec.quantizer.codebook.grad, io["out.grad_codebook.legacy_false"])
    assert_equal_to_scale(codec.encoder.quant_conv.weight.grad, io["out.grad_quant_conv_weight.legacy_false"])


def test_old_names_of_attention():
    """Files from before diffusers 0.15 call the parts query, key, value, proj_attn."""
    weights, io = load_golden("08_diffusers_vqmodel")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in weights.items():
        new = next((part for part in old if f".{part}." in name), None)
        renamed[name.replace(f".{new}.", f".{old[new]}.") if new else name] = tensor
    assert renamed.keys() != weights.keys()
    out = imported("diffusers", renamed, {"norm_num_groups": 8})(io["in.x"])
    assert_equal_to_scale(out.reconstruction, io["out.recon"])
