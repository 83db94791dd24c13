"""Gradients of vector-quantize-pytorch's straight-through and rotation trick."""

import pytest
import torch

from anycodec.config.quantizer import VqSpec
from anycodec.torch.quantizers import make_quantizer
from parity.goldens import assert_equal_to_scale, load_golden


@pytest.mark.parametrize(("gradient", "theirs"), [("straight_through", "ste"), ("rotation", "rotation")])
def test_equal_to_vector_quantize_pytorch(gradient, theirs):
    weights, io = load_golden("10_vq_rotation_trick")
    codes = weights["layers.0._codebook.embed"][0]
    spec = VqSpec(codebook_size=len(codes), gradient=gradient, beta=1.0, kmeans_init=False, restart_after=0)
    quantizer = make_quantizer(spec, codes.shape[1])
    with torch.no_grad():
        quantizer.codebook.copy_(codes)
    x = io["in.x"].requires_grad_()
    out = quantizer(x.mT)
    assert torch.equal(out.tokens[0], io[f"out.{theirs}.indices"])
    assert_equal_to_scale(out.values.mT, io[f"out.{theirs}.q"])
    assert_equal_to_scale(out.losses["commitment"], io[f"out.{theirs}.commit_loss"])
    (of_values,) = torch.autograd.grad((out.values.mT * io["in.R"]).sum(), x, retain_graph=True)
    assert_equal_to_scale(of_values, io[f"out.{theirs}.grad_x_q_only"])
    (of_commitment,) = torch.autograd.grad(out.losses["commitment"], x)
    assert_equal_to_scale(of_values + of_commitment, io[f"out.{theirs}.grad_x"])
