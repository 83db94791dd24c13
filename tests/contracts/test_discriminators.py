"""What every discriminator must do, with every normalisation, on series, pictures and clips."""

from typing import get_args

import pytest
import torch

from anycodec.config.discriminator import DiscriminatorSpec
from anycodec.config.losses.base import LossWindow
from anycodec.torch.adversarial.penalty import gradient_penalty
from anycodec.torch.discriminators import make_discriminator

KINDS = get_args(get_args(DiscriminatorSpec)[0])
SMALL = {
    "patchgan": {"base_channels": 8, "layers": 2},
    "res_patchgan": {"channels": (8, 12), "kernel": 5, "res_blocks": 1},
}
AXES = ("T", "HW", "THW")


def variants(couples_samples=(False, True)):
    """Specs of each kind and normalisation, with and without spectral norm."""
    found = []
    for kind in KINDS:
        name = kind.model_fields["type"].default
        for norm in get_args(kind.model_fields["norm"].annotation):
            for spectral in (False, True):
                label = f"{name}-{norm}{'-spectral' * spectral}"
                spec = kind(norm=norm, spectral_norm=spectral, **SMALL[name])
                if spec.couples_samples in couples_samples:
                    found.append(pytest.param(spec, id=label))
    return found


every = pytest.mark.parametrize("spec", variants())


def made(spec, axes, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make_discriminator(spec, 2, len(axes))


def windows(spec, axes, seed=1):
    """Two windows of 2 channels, as small as they may be along the first axis."""
    smallest = spec.smallest_window(axes)
    size = (smallest[0], *(2 * extent + 1 for extent in smallest[1:]))
    return torch.randn(2, 2, *size, generator=torch.Generator().manual_seed(seed))


@every
@pytest.mark.parametrize("axes", AXES)
def test_logits_and_features(spec, axes):
    """A logit a patch, features from the finest to the coarsest, and a gradient for every parameter."""
    net, x = made(spec, axes), windows(spec, axes).requires_grad_()
    logits, features = net(x)
    assert logits.shape[:2] == (2, 1)
    assert logits.ndim == x.ndim
    assert all(feature.ndim == x.ndim for feature in features)
    sizes = [feature.shape[2:].numel() for feature in features]
    assert sizes == sorted(sizes, reverse=True)
    assert len(features) >= 2
    (logits.square().sum() + features[-1].square().sum()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
    assert x.grad.abs().max() > 0


@every
def test_repeats(spec):
    """The same seed gives the same network and the same judgement; in evaluation nothing changes."""
    x = windows(spec, "HW")
    first, second = made(spec, "HW"), made(spec, "HW")
    assert torch.equal(first(x).logits, second(x).logits)
    first.eval()
    state = {name: value.clone() for name, value in first.state_dict().items()}
    assert torch.equal(first(x).logits, first(x).logits)
    assert all(torch.equal(value, state[name]) for name, value in first.state_dict().items())


@every
def test_couples_samples(spec):
    """`couples_samples` tells whether a window's logits change with the other windows of its batch."""
    net, x = made(spec, "HW"), windows(spec, "HW")
    net(x)  # ActNorm looks at its first batch
    net.requires_grad_(False)
    x.requires_grad_()
    for module in net.modules():
        if hasattr(module, "parametrizations"):
            module.eval()  # spectral norm refines its estimate at each training step
    (slope,) = torch.autograd.grad(net(x).logits[0].square().sum(), x)
    assert (slope[1].abs().max() > 1e-6 * slope[0].abs().max()) == spec.couples_samples


@pytest.mark.parametrize("spec", variants(couples_samples=[False]))
def test_gradient_penalty(spec):
    """The penalty is computed in float32 and differentiable; a batch that couples samples is refused."""
    net, x = made(spec, "HW"), windows(spec, "HW")
    with torch.autocast("cpu", torch.bfloat16):
        penalty = gradient_penalty(net, x, x + 1, torch.Generator().manual_seed(0))
    assert penalty.dtype == torch.float32
    penalty.backward()
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    assert any(gradient.abs().max() > 0 for gradient in gradients)
    assert all(gradient.isfinite().all() for gradient in gradients)


@every
@pytest.mark.parametrize("axes", AXES)
def test_smallest_window(spec, axes):
    """The smallest window gives a logit, one less along a spatial axis is refused by name."""
    smallest = spec.smallest_window(axes)
    logits = made(spec, axes)(torch.randn(2, 2, *smallest)).logits
    assert logits.numel() >= 2
    assert spec.misfit(LossWindow(axes, smallest, "fixed")) is None
    for tooshort in ((*smallest[:-1], smallest[-1] - 1), (1,) * len(axes)):
        misfit = spec.misfit(LossWindow(axes, tooshort, "fixed"))
        assert misfit.setting in type(spec).model_fields
        assert f"at least {smallest[-1]} along" in misfit.what


@pytest.mark.parametrize("axes", AXES)
def test_patchgan_needs_no_larger_window(axes):
    """Below the smallest window a PatchGAN has no logit at all, so the bound is no stricter than it must."""
    spec = KINDS[0](**SMALL["patchgan"])
    smaller = tuple(max(1, extent - 1) for extent in spec.smallest_window(axes))
    with pytest.raises(RuntimeError):
        made(spec, axes).eval()(torch.zeros(1, 2, *smaller))


@pytest.mark.parametrize("norm", ["none", "group", "actnorm"])
def test_spectral_norm_bounds_weights(norm):
    """The largest singular value of each weight becomes 1 (Miyato 2018)."""
    spec = KINDS[0](norm=norm, spectral_norm=True, **SMALL["patchgan"])
    net, x = made(spec, "HW"), windows(spec, "HW")
    for _ in range(30):
        net(x)
    weights = [module.weight for module in net.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(weights) == 4
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
