"""Our SimVQ with the published SimVQ's weights gives its codebook, tokens, losses and gradients."""

import pytest
import torch

from anycodec.config.quantizer import SimVqSpec
from anycodec.torch.quantizers import make_quantizer
from parity.goldens import assert_equal_to_scale, load_golden


@pytest.mark.parametrize("case", ["05_simvq_1d", "05_simvq_2d"])
def test_equal_to_the_published_simvq(case):
    """With beta on the commitment term, which SimVQ calls `legacy = False`."""
    weights, io = load_golden(case)
    size, dim = weights["embedding.weight"].shape
    quantizer = make_quantizer(SimVqSpec(codebook_size=size, beta=0.25, kmeans_init=False), dim)
    with torch.no_grad():
        quantizer.frozen.copy_(weights["embedding.weight"])
        quantizer.linear.weight.copy_(weights["embedding_proj.weight"])
        quantizer.linear.bias.copy_(weights["embedding_proj.bias"])
    z = io["in.z"].requires_grad_()
    out = quantizer(z)
    assert_equal_to_scale(quantizer.codes(), io["out.codebook"])
    assert torch.equal(out.tokens[0], io["out.indices"])
    assert_equal_to_scale(out.values, io["out.z_q"])
    loss = sum(out.losses.values())
    assert_equal_to_scale(loss, io["out.commit_loss.legacy_false"])
    ((out.values * io["in.R"]).sum() + loss).backward()
    assert_equal_to_scale(z.grad, io["out.grad_z.legacy_false"])
    assert_equal_to_scale(quantizer.linear.weight.grad, io["out.grad_proj_weight.legacy_false"])
    assert_equal_to_scale(quantizer.linear.bias.grad, io["out.grad_proj_bias.legacy_false"])
