"""Our alignment terms, their adaptive weight and their gradients are those of VA-VAE's loss."""

import numpy as np
import pytest
import torch
from torch import nn

from anycodec.config.alignment import AlignmentSpec, AlignmentStage
from anycodec.config.teacher import DinoV2Teacher
from anycodec.torch.adversarial.weight import adaptive_weight
from anycodec.torch.codecs import CodecOutput
from anycodec.torch.layers.gaussian import DiagonalGaussian
from anycodec.torch.losses.l1 import L1
from anycodec.torch.losses.mse import Mse
from anycodec.torch.shaping.alignment import Alignment
from anycodec.torch.shaping.base import LatentStep
from anycodec.torch.shaping.similarity import marginal_cosine, marginal_distance_matrix
from parity.goldens import assert_equal_to_scale, load_golden
from parity.patchgans import published_patchgan

TERMS = {"cosine": (marginal_cosine, 0.5), "distmat": (marginal_distance_matrix, 0.25)}
L1_TERM, MSE_TERM = (term(None) for term in (L1, Mse))


@pytest.fixture
def golden():
    return load_golden("07_vavae_loss")


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("with_margin", [True, False])
def test_a_term_and_its_gradient(golden, name, with_margin):
    _, io = golden
    term, margin = TERMS[name]
    expected = f"out.vf.{name}" if with_margin else f"out.vf.{name}_margin0"
    z = io["out.z_for_vf"].clone().requires_grad_()
    value = term(z, io["out.aux_for_vf"], margin if with_margin else 0.0)
    assert_equal_to_scale(value, io[expected])
    value.backward()
    assert_equal_to_scale(z.grad, io[f"{expected}.grad_z"])


class Published:
    """The golden's fixed features, as a teacher."""

    def __init__(self, features):
        self.features = features.numpy()
        self.width = self.features.shape[1]

    def __call__(self, windows):
        return self.features


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("mean", [False, True])
def test_the_whole_loss(golden, mean, adaptive, monkeypatch):
    """nll is a sum over elements / batch with a learned variance, or a mean (pp_style)."""
    weights, io = golden
    case = f"out.full.pp{int(mean)}.adaptive{int(adaptive)}."
    out = {key.removeprefix(case): value for key, value in io.items()}
    monkeypatch.setattr(torch, "randn_like", lambda like: io["in.eps"])
    layer = nn.Parameter(weights["enc_last.weight"])
    posterior = DiagonalGaussian(torch.conv2d(io["in.feat"], layer, weights["enc_last.bias"], padding=1))
    z, x = posterior.sample(), io["in.x"]
    assert_equal_to_scale(z, io["out.z"])
    last = weights["dec_last.weight"].requires_grad_()
    larger = torch.nn.functional.interpolate(z, scale_factor=4, mode="nearest")
    recon = torch.conv2d(larger, last, weights["dec_last.bias"], padding=1)
    rec, logvar = L1_TERM(recon, x) + 0.8 * MSE_TERM(recon, x), weights["loss.logvar"]
    nll = rec if mean else (rec / logvar.exp() + logvar) * x[0].numel()

    spec = AlignmentSpec(
        teacher=DinoV2Teacher(),
        adaptive=adaptive,
        stages=(AlignmentStage(weight=0.5, cosine_margin=0.5, distance_margin=0.25),),
    )
    alignment = Alignment(spec, z.shape[1], Published(io["in.features"]), layer)
    alignment.load_state_dict({"projection.weight": weights["linear_proj.weight"]})

    def gradient(value, weight):
        return torch.autograd.grad(value, weight, retain_graph=True)[0]

    output = CodecOutput(recon, (), latents=z)
    step = LatentStep(x, output, lambda w: gradient(nll, w), decode=lambda z: z, number=0, steps=1)
    terms, stats = alignment(step)
    assert_equal_to_scale(stats["alignment_cosine"] + stats["alignment_distance"], out["vf_loss"])
    assert_equal_to_scale(torch.as_tensor(stats["alignment_weight"]), out["vf_weight"])
    # what is left of the published total: the discriminator's part, from its published figures
    kl = 2 * posterior.kl().mean() if mean else posterior.kl().sum() / len(x)
    assert_equal_to_scale(kl, out["kl_loss"])
    assert_equal_to_scale(nll + 0.01 * kl + out["d_weight"] * out["g_loss"] + terms["alignment"], out["loss"])
    net = published_patchgan(weights, "loss.discriminator.main.", base_channels=64, layers=1)
    g_loss = -net(recon).logits.mean()
    weight = 0.5 * adaptive_weight(gradient(nll, last), gradient(g_loss, last))
    total = nll + 0.01 * kl + weight * g_loss + terms["alignment"]
    assert_equal_to_scale(gradient(total, layer), out["grad_enc_last_weight"])


def test_features_of_another_grid_are_resized():
    """A gradient along a row stays one when it is averaged from 4 x 4 to 2 x 2 places."""
    ramp = np.broadcast_to(np.arange(4, dtype=np.float32), (2, 3, 4, 4)).copy()
    spec = AlignmentSpec(teacher=DinoV2Teacher())
    layer = nn.Parameter(torch.zeros(1))
    alignment = Alignment(spec, 5, Published(torch.from_numpy(ramp)), layer)
    smaller = alignment.features(torch.zeros(2, 1, 8, 8), (2, 2))
    assert smaller.shape == (2, 3, 2, 2)
    assert torch.allclose(smaller.mean(dim=3), torch.full((2, 3, 2), 1.5))
    assert (smaller[..., 1] > smaller[..., 0]).all()
