"""Our LFQ gives the tokens, entropies, losses and gradients of vector-quantize-pytorch's."""

import pytest
import torch
from safetensors.torch import load_file

from anycodec.config.quantizer import LfqSpec
from anycodec.torch.quantizers import make_quantizer
from anycodec.torch.quantizers.lfq import bit_entropy, mean_code_entropy
from parity.goldens import GOLDEN, assert_equal_to_scale

forms = pytest.mark.parametrize("form", ["lfq", "spherical"])
temperatures = pytest.mark.parametrize("inverse_temperature", [2, 100])


@pytest.fixture
def io():
    return load_file(GOLDEN / "10_lfq" / "io.safetensors")


def build(form, inverse_temperature):
    spec = LfqSpec(codebook_size=32, spherical=form == "spherical", inverse_temperature=inverse_temperature)
    return make_quantizer(spec, 5)


@forms
@temperatures
def test_values_losses_and_gradients(io, form, inverse_temperature):
    """The reference's -p log max(p, 1e-5) differs from -p log p by less than 1e-5 a code."""
    quantizer = build(form, inverse_temperature)
    key = f"out.{form}.train.invtemp{inverse_temperature}"
    z = io["in.x"].movedim(-1, 1).requires_grad_()
    out = quantizer(z)
    assert torch.equal(out.tokens[0], io[f"{key}.indices"])
    assert_equal_to_scale(out.values, io[f"{key}.q"].movedim(-1, 1))
    assert_equal_to_scale(out.losses["commitment"], 0.25 * io[f"{key}.commitment"])
    total = sum(out.losses.values())
    assert_equal_to_scale(total, io[f"{key}.aux_loss"], tolerance=2e-5)
    ((out.values * io["in.R"].movedim(-1, 1)).sum() + total).backward()
    assert_equal_to_scale(z.grad, io[f"{key}.grad_x"].movedim(-1, 1))


@forms
@temperatures
def test_entropies(io, form, inverse_temperature):
    quantizer = build(form, inverse_temperature)
    key = f"out.{form}.train.invtemp{inverse_temperature}"
    logits = 4 * inverse_temperature * quantizer.amplitude * quantizer.bound(io["in.x"].reshape(-1, 5))
    torch.testing.assert_close(bit_entropy(logits), io[f"{key}.per_sample_entropy"], atol=2e-5, rtol=0)
    torch.testing.assert_close(mean_code_entropy(logits), io[f"{key}.batch_entropy"], atol=2e-5, rtol=0)


@forms
def test_lookup(io, form):
    tokens = io[f"out.{form}.eval.indices"]
    assert_equal_to_scale(
        build(form, 100).lookup((tokens,)), io[f"out.{form}.eval.codes_from_indices"].movedim(-1, 1)
    )
