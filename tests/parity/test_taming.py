"""Our VQGAN with taming-transformers' weights gives taming's latents, tokens, pictures and gradients."""

import pytest
import torch

from anycodec.config.codec import VqganSpec
from anycodec.torch.codecs import make_codec
from parity.goldens import assert_equal_to_scale, imported, load_golden


@pytest.fixture
def case():
    weights, io = load_golden("01_taming_vqmodel")
    return imported("taming", weights), io


def test_forward(case):
    codec, io = case
    out = codec(io["in.x"])
    assert_equal_to_scale(codec.encoder(io["in.x"]), io["out.z"])
    assert torch.equal(out.tokens[0], io["out.indices"])
    assert_equal_to_scale(out.reconstruction, io["out.recon"])
    assert_equal_to_scale(codec.decode(out.tokens), io["out.recon_from_indices"])
    assert_equal_to_scale(sum(out.losses.values()), io["out.loss.legacy_false"])
    assert_equal_to_scale(out.stats["perplexity"], io["out.perplexity"])


def test_gradients(case):
    """With beta on the commitment term, which taming calls `legacy = False`."""
    codec, io = case
    x = io["in.x"].requires_grad_()
    out = codec(x)
    ((out.reconstruction * io["in.R"]).sum() + sum(out.losses.values())).backward()
    assert_equal_to_scale(x.grad, io["out.grad_x.legacy_false"])
    assert_equal_to_scale(codec.quantizer.codebook.grad, io["out.grad_codebook.legacy_false"])
    assert_equal_to_scale(codec.encoder.quant_conv.weight.grad, io["out.grad_quant_conv_weight.legacy_false"])


@pytest.mark.parametrize(("backbone", "decoder"), [("taming", 42_449_795), ("dome272", 41_028_611)])
def test_published_sizes(backbone, decoder):
    """f16 with z 256, without the 1x1 convolutions around the quantizer."""
    with torch.device("meta"):
        codec = make_codec(VqganSpec(backbone=backbone), in_channels=3)

    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(codec.encoder) - count(codec.encoder.quant_conv) == 29_298_176
    assert count(codec.decoder) - count(codec.decoder.post_quant_conv) == decoder
