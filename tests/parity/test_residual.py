"""Our residual EMA quantizer gives the tokens, losses, gradients and averages of vector-quantize-pytorch's.

Its straight-through gradient counts each stage once: it is `STAGES` times ours.
"""

import pytest
import torch

from anycodec.config.quantizer import EmaSpec, ResidualSpec
from anycodec.torch.quantizers import make_quantizer
from parity.goldens import assert_equal_to_scale, load_golden

STAGES = 3


@pytest.fixture
def case():
    weights, io = load_golden("10_residual_vq")
    stage = EmaSpec(codebook_size=12, decay=0.8, beta=1.0, kmeans_init=False, restart_after=0)
    quantizer = make_quantizer(ResidualSpec(stages=STAGES, quantizer=stage), 6)
    for i, book in enumerate(quantizer.books):
        for ours, theirs in (("codebook", "embed"), ("counts", "cluster_size"), ("sums", "embed_avg")):
            getattr(book, ours).copy_(weights[f"layers.{i}._codebook.{theirs}"][0])
    return quantizer, io


def test_evaluation(case):
    quantizer, io = case
    out = quantizer.eval()(io["in.x"].movedim(-1, 1))
    assert torch.equal(torch.stack(out.tokens, dim=-1), io["out.eval.indices"])
    assert_equal_to_scale(out.values, io["out.eval.q"].movedim(-1, 1))
    assert_equal_to_scale(quantizer.lookup(out.tokens), io["out.eval.output_from_indices"].movedim(-1, 1))


def test_the_first_stages_alone(case):
    quantizer, io = case
    tokens = io["out.eval.indices"].unbind(-1)
    codes = io["out.eval.all_codes"]
    for stages in range(1, STAGES + 1):
        expected = codes[:stages].sum(dim=0).movedim(-1, 1)
        assert_equal_to_scale(quantizer.lookup(tokens[:stages]), expected)


def test_training(case):
    quantizer, io = case
    z = io["in.x"].movedim(-1, 1).requires_grad_()
    upstream = io["in.R"].movedim(-1, 1)
    out = quantizer.train()(z)
    assert torch.equal(torch.stack(out.tokens, dim=-1), io["out.train.ste.indices"])
    assert_equal_to_scale(out.values, io["out.train.ste.q"].movedim(-1, 1))
    assert_equal_to_scale(sum(out.losses.values()), io["out.train.ste.losses"].sum())
    (of_values,) = torch.autograd.grad((out.values * upstream).sum(), z, retain_graph=True)
    (of_losses,) = torch.autograd.grad(sum(out.losses.values()), z)
    theirs = io["out.train.ste.grad_x_q_only"].movedim(-1, 1)
    assert_equal_to_scale(of_values, theirs / STAGES)
    assert_equal_to_scale(of_losses, io["out.train.ste.grad_x"].movedim(-1, 1) - theirs)


def test_averages_after_a_step(case):
    quantizer, io = case
    quantizer.train()(io["in.x"].movedim(-1, 1))
    for i, book in enumerate(quantizer.books):
        key = f"out.train.after.layers.{i}._codebook"
        assert_equal_to_scale(book.codebook, io[f"{key}.embed"][0])
        assert_equal_to_scale(book.counts, io[f"{key}.cluster_size"][0])
        assert_equal_to_scale(book.sums, io[f"{key}.embed_avg"][0])
