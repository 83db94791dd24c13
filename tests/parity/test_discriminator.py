"""Our PatchGAN and objectives give the logits, losses and gradients of taming's, dome272's and VA-VAE's."""

import pytest
import torch

from anycodec.config.discriminator import PatchGanSpec
from anycodec.torch.adversarial.objectives import make_objective
from anycodec.torch.adversarial.weight import adaptive_weight
from anycodec.torch.discriminators import make_discriminator
from anycodec.torch.losses.l1 import L1
from anycodec.torch.losses.mse import Mse
from parity.goldens import assert_equal_to_scale, imported, load_golden
from parity.patchgans import published_patchgan

HINGE = make_objective("hinge")
L1_TERM, MSE_TERM = (term(None) for term in (L1, Mse))


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    ("name", "norm"), [("01_taming_discriminator", "batch"), ("01_taming_discriminator_actnorm", "actnorm")]
)
def test_taming(name, norm, mode):
    weights, io = load_golden(name)
    net = published_patchgan(weights, base_channels=8, layers=2, norm=norm).train(mode == "train")
    out = {key.removeprefix(f"out.{mode}."): value for key, value in io.items()}
    x, fake = io["in.x"].requires_grad_(), io["in.fake"].requires_grad_()
    logits = net(x).logits
    assert_running_statistics(net, out)
    fake_logits = net(fake).logits
    assert_equal_to_scale(logits, out["logits_real"])
    assert_equal_to_scale(fake_logits, out["logits_fake"])
    assert_equal_to_scale(make_objective("vanilla").discriminator(logits, fake_logits), out["vanilla_d_loss"])
    g_loss, d_loss = HINGE.generator(fake_logits), HINGE.discriminator(logits, fake_logits)
    assert_equal_to_scale(g_loss, out["g_loss"])
    assert_equal_to_scale(d_loss, out["hinge_d_loss"])
    (grad,) = torch.autograd.grad(g_loss, fake, retain_graph=True)
    assert_equal_to_scale(grad, out["g_loss.grad_fake"])
    grads = torch.autograd.grad(d_loss, (x, fake, net.layers[0].conv.weight))
    for grad, of in zip(grads, ("x", "fake", "first_conv_weight"), strict=True):
        assert_equal_to_scale(grad, out[f"hinge.grad_{of}"])


def assert_running_statistics(net, out):
    """The golden has those of train mode with BatchNorm, after one forward pass."""
    for n in (1, 2):
        for statistic in ("running_mean", "running_var"):
            expected = out.get(f"after_first_forward.main.{3 * n}.{statistic}")
            if net.training and expected is not None:
                assert_equal_to_scale(getattr(net.layers[n].norm, statistic), expected)


def gradient(value, weight):
    return torch.autograd.grad(value, weight, retain_graph=True)[0]


@pytest.mark.parametrize(("case", "perceptual"), [("p0", 0.0), ("pstub", 0.6)])
def test_taming_losses(case, perceptual):
    """Published: VQLPIPSWithDiscriminator, with a mean squared error in place of LPIPS, disc_weight 0.8."""
    weights, io = load_golden("01_taming_gan_losses")
    before, after = (
        {key.removeprefix(f"out.{case}.{when}."): value for key, value in io.items()}
        for when in ("before", "after")
    )
    net = published_patchgan(weights, "discriminator.main.", base_channels=8, layers=2)
    last = weights["last_layer.weight"].requires_grad_()
    recon = torch.conv2d(io["in.feat"], last, weights["last_layer.bias"], padding=1)
    nll = L1_TERM(recon, io["in.x"]) + perceptual * MSE_TERM(recon, io["in.x"])
    g_loss = HINGE.generator(net(recon).logits)
    pulls = gradient(nll, last), gradient(g_loss, last)
    for pull, of in zip(pulls, ("nll", "g"), strict=True):
        assert_equal_to_scale(pull.norm(), after[f"norm_{of}_grad"])
    weight = 0.8 * adaptive_weight(*pulls)
    assert_equal_to_scale(weight, before["gen.d_weight"])
    assert_equal_to_scale(weight, after["gen.d_weight"])
    assert_equal_to_scale(nll + io["in.codebook_loss"], before["gen.loss"])
    loss = nll + io["in.codebook_loss"] + weight * g_loss
    assert_equal_to_scale(loss, after["gen.loss"])
    assert_equal_to_scale(gradient(nll, last), before["gen.grad_last_layer_weight"])
    assert_equal_to_scale(gradient(loss, last), after["gen.grad_last_layer_weight"])
    real, fake = (net(x).logits for x in (io["in.x"], recon.detach()))
    d_loss = HINGE.discriminator(real, fake)
    assert_equal_to_scale(real.mean(), after["disc.logits_real"])
    assert_equal_to_scale(fake.mean(), after["disc.logits_fake"])
    assert_equal_to_scale(d_loss, after["disc.loss"])
    first = net.layers[0].conv.weight
    assert_equal_to_scale(gradient(d_loss, first), after["disc.grad_first_conv_weight"])


def test_dome272_losses():
    """Published: lambda = 0.8 clamp(|g_rec| / (|g_gen| + 1e-4), 0, 1e4) at the decoder's last convolution."""
    weights, io = load_golden("09_dome272_vqgan")
    codec = imported("dome272", weights)
    net = published_patchgan(weights, "discriminator.model.", base_channels=8, layers=2)
    x, last = io["in.x"], codec.last_layer()
    out = codec(x)
    beta = 0.25
    q_loss = out.losses["commitment"] / beta + beta * out.losses["codebook"]
    rec = L1_TERM(out.reconstruction, x) + MSE_TERM(out.reconstruction, x)
    assert_equal_to_scale(rec, io["out.perceptual_rec_loss"])
    real, fake = net(x).logits, net(out.reconstruction).logits
    assert_equal_to_scale(HINGE.discriminator(real, fake), io["out.after.gan_loss"])
    g_loss = HINGE.generator(fake)
    assert_equal_to_scale(g_loss, io["out.g_loss"])
    weight = 0.8 * adaptive_weight(gradient(rec, last), gradient(g_loss, last))
    assert_equal_to_scale(weight, io["out.lambda"])
    assert_equal_to_scale(rec + q_loss, io["out.before.vq_loss"])
    loss = rec + q_loss + weight * g_loss
    assert_equal_to_scale(loss, io["out.after.vq_loss"])
    assert_equal_to_scale(gradient(loss, last), io["out.after.vq_loss.grad_last_weight"])


@pytest.mark.parametrize("mean", [False, True])
def test_vavae_losses(mean):
    """Published: nll as a sum over elements / batch with a learned variance, or as a mean (pp_style)."""
    weights, io = load_golden("07_vavae_loss")
    out = {key.removeprefix(f"out.full.pp{int(mean)}.adaptive0."): value for key, value in io.items()}
    net = published_patchgan(weights, "loss.discriminator.main.", base_channels=64, layers=1)
    last, x = weights["dec_last.weight"].requires_grad_(), io["in.x"]
    z = torch.nn.functional.interpolate(io["out.z"], scale_factor=4, mode="nearest")
    recon = torch.conv2d(z, last, weights["dec_last.bias"], padding=1)
    assert_equal_to_scale(recon, io["out.recon"])
    rec = L1_TERM(recon, x) + 0.8 * MSE_TERM(recon, x)
    assert_equal_to_scale(rec, out["rec_loss"])
    logvar = weights["loss.logvar"]
    nll = rec if mean else (rec / logvar.exp() + logvar) * x[0].numel()
    assert_equal_to_scale(nll, out["nll_loss"])
    fake = net(recon).logits
    g_loss = HINGE.generator(fake)
    assert_equal_to_scale(g_loss, out["g_loss"])
    weight = 0.5 * adaptive_weight(gradient(nll, last), gradient(g_loss, last))
    assert_equal_to_scale(weight, out["d_weight"])
    loss = nll + 0.01 * out["kl_loss"] + weight * g_loss + out["vf_weight"] * out["vf_loss"]
    assert_equal_to_scale(loss, out["loss"])
    assert_equal_to_scale(gradient(loss, last), out["grad_dec_last_weight"])
    assert_equal_to_scale(HINGE.discriminator(net(x).logits, fake), out["disc_loss"])


def test_parameters_of_taming():
    """taming's discriminator of its ImageNet configurations: 64 channels, 3 layers, 2,765,633 parameters.

    Convolutions 4 * 4 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512), 64 + 1 biases,
    BatchNorm 2 * (128 + 256 + 512).
    """
    net = make_discriminator(PatchGanSpec(), channels=3, dims=2)
    assert sum(parameter.numel() for parameter in net.parameters()) == 2_765_633
