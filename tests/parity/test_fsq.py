"""Our FSQ gives the tokens, codes and gradients of vector-quantize-pytorch's."""

import pytest
import torch

from anycodec.config.quantizer import FsqSpec, GroupedSpec
from anycodec.torch.quantizers import make_quantizer
from parity.goldens import assert_equal_to_scale, load_golden

LEVELS = (8, 5, 5)


@pytest.fixture(scope="module")
def golden():
    return load_golden("10_fsq")


def channels_first(x):
    return x.movedim(-1, 1)


def run(quantizer, io, case):
    """Forward, lookup and gradient on the reference's latents [B N D]."""
    z = channels_first(io[f"in.x.{case}"]).requires_grad_()
    out = quantizer(z)
    (out.values * channels_first(io[f"in.R.{case}"])).sum().backward()
    assert torch.equal(out.tokens[0], io[f"out.{case}.indices"].long())
    assert_equal_to_scale(out.values, channels_first(io[f"out.{case}.q"]))
    assert_equal_to_scale(quantizer.lookup(out.tokens), channels_first(io[f"out.{case}.codes_from_indices"]))
    assert_equal_to_scale(z.grad, channels_first(io[f"out.{case}.grad_x"]))


@pytest.mark.parametrize(
    ("case", "spec"),
    [("basic", FsqSpec(levels=LEVELS)), ("sym", FsqSpec(levels=(4, 3, 2), symmetric=True))],
)
def test_channels_that_are_levels(golden, case, spec):
    _, io = golden
    quantizer = make_quantizer(spec, 3)
    run(quantizer, io, case)
    every = torch.arange(spec.codebook_size)[None]
    assert_equal_to_scale(quantizer.lookup((every,))[0].T, io[f"out.{case}.implicit_codebook"])


def test_projections(golden):
    weights, io = golden
    quantizer = make_quantizer(FsqSpec(levels=LEVELS), 6)
    own = {f"project_{way}.{name}": weights[f"proj.project_{way}.{name}"]
           for way in ("in", "out") for name in ("weight", "bias")}  # fmt: skip
    quantizer.load_state_dict(own)
    run(quantizer, io, "proj")
    assert_equal_to_scale(quantizer.project_in.weight.grad, io["out.proj.grad_project_in_weight"])


def test_two_codebooks_are_two_groups(golden):
    """On pictures; the reference lists the codebooks last."""
    _, io = golden
    quantizer = make_quantizer(GroupedSpec(groups=2, quantizer=FsqSpec(levels=LEVELS)), 6)
    z = io["in.x.image"].requires_grad_()
    out = quantizer(z)
    (out.values * io["in.R.image"]).sum().backward()
    assert torch.equal(torch.stack(out.tokens, dim=-1), io["out.image.indices"].long())
    assert_equal_to_scale(out.values, io["out.image.q"])
    assert_equal_to_scale(quantizer.lookup(out.tokens), io["out.image.codes_from_indices"])
    assert_equal_to_scale(z.grad, io["out.image.grad_x"])
