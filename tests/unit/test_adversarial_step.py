"""One step of a training of two, against the same step written out plainly."""

import copy
import math

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.amp import GradScaler

from anycodec.config.adversarial import AdversarialSpec, InstanceNoiseSpec
from anycodec.config.discriminator import PatchGanSpec
from anycodec.config.loss import L1Spec, MseSpec
from anycodec.config.quantizer import VqSpec
from anycodec.config.train import OptimizerSpec, TrainSpec
from anycodec.errors import RunError
from anycodec.torch.codecs import make_codec
from anycodec.torch.losses import make_losses
from anycodec.torch.training.adversarial import AdversarialTraining
from anycodec.torch.training.adversary import Adversary
from anycodec.torch.training.module import CodecTraining
from anycodec.torch.training.trainer import by_hand
from anycodec.torch.training.update import PERSISTENT, Update
from anycodec.training.timeline import Timeline
from contracts.specs import CODECS, codec_spec, quantizers_of, type_of

KINDS = {type_of(kind): kind for kind in CODECS}
SHAPES = {"simvqgan": (24,), "vqgan": (16, 16), "causal3d": (4, 16, 16)}
NORMED = PatchGanSpec(base_channels=4, layers=1, norm="instance")
TINY = PatchGanSpec(base_channels=4, layers=1, norm="none")
in_every_dimension = pytest.mark.parametrize("kind", SHAPES)


class Bare(AdversarialTraining):
    """Without Lightning's trainer."""

    def manual_backward(self, loss):
        loss.backward()


def training(kind="simvqgan", train=None, dims=None, **settings):
    torch.manual_seed(0)
    codec = small_codec(kind)
    spec = TrainSpec(**({"steps": 100, "clip": None} | (train or {})))
    adversarial = AdversarialSpec(**({"discriminator": TINY, "start": 0, "lead": 0, "ramp": 0} | settings))
    losses = {"l1": L1Spec(weight=0.5), "mse": MseSpec()}
    module = Bare(
        codec,
        make_losses(losses),
        {name: loss.weight for name, loss in losses.items()},
        spec,
        Adversary(adversarial, channels(kind), dims or len(SHAPES[kind]), seed=3),
    )
    module.configure_optimizers()
    return module


def small_codec(kind):
    taken = quantizers_of(KINDS[kind])
    return make_codec(codec_spec(KINDS[kind], VqSpec if VqSpec in taken else None), channels(kind))


def channels(kind):
    return 1 if KINDS[kind].one_channel else 2


def windows(kind="simvqgan", batch=4, seed=1):
    return torch.randn(batch, 2, *SHAPES[kind], generator=torch.Generator().manual_seed(seed))


def parameters(module):
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def moved(before, module):
    return any(not torch.equal(value, before[name]) for name, value in module.named_parameters())


def gradients_of_a_step(module, x):
    """What the optimizers get: {network: gradients}."""
    found = {}
    for name, update in module.updates.items():
        update.step = lambda *_, name=name, update=update: found.update(
            {name: [p.grad for group in update.optimizer.param_groups for p in group["params"]]}
        )
    module.training_step(x, 0)
    return found


def plain_gradients(module, x, *, adaptive):
    """The same step after Esser et al. 2021, eq. 6 and 7, written out with two walks through everything."""
    codec, discriminator = module.codec, module.adversary.discriminator
    spec = module.adversary.spec
    output = codec(x)
    y = output.reconstruction
    reconstruction = 0.5 * (y - x).abs().mean() + (y - x).square().mean()
    fake, real = discriminator(y), discriminator(x)
    generator = -fake.logits.mean()
    features = list(zip(real.features, fake.features, strict=True))
    matching = sum((a.detach() - b).abs().mean() for a, b in features) / len(features)
    factor = spec.weight
    if adaptive:
        last = codec.last_layer()
        norms = [
            torch.autograd.grad(term, last, retain_graph=True)[0].norm()
            for term in (reconstruction, generator)
        ]
        factor = factor * (norms[0] / (norms[1] + 1e-4)).clamp(0, 1e4).detach()
    total = (
        reconstruction + factor * generator + spec.feature_matching * matching + sum(output.losses.values())
    )
    codec_parameters = [
        p for group in module.updates["codec"].optimizer.param_groups for p in group["params"]
    ]
    ours = torch.autograd.grad(total, codec_parameters, retain_graph=True)
    judged = discriminator(y.detach())
    hinge = 0.5 * ((1 - real.logits).relu().mean() + (1 + judged.logits).relu().mean())
    return {
        "codec": ours,
        "discriminator": torch.autograd.grad(hinge, list(discriminator.parameters())),
    }


@in_every_dimension
@pytest.mark.parametrize("adaptive", ["none", "taming"])
@pytest.mark.parametrize("feature_matching", [0.0, 0.7])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_gradients_equal_those_of_the_plain_step(kind, adaptive, feature_matching, precision):
    """With fp16's loss scale too, here without its rounding."""
    module = training(
        kind,
        {"precision": precision},
        adaptive=adaptive,
        feature_matching=feature_matching,
        weight=0.8,
    )
    x = windows(kind)
    expected = plain_gradients(copy.deepcopy(module), x, adaptive=adaptive == "taming")
    found = gradients_of_a_step(module, x)
    for network in ("codec", "discriminator"):
        for a, b in zip(found[network], expected[network], strict=True):
            torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("kind", CODECS, ids=type_of)
def test_every_codec_has_a_last_layer_to_weigh_at(kind):
    axes = codec_spec(kind).axes
    shape = {"T": (24,), "HW": (16, 16), "THW": (4, 16, 16)}[axes]
    module = training(type_of(kind), dims=len(axes))
    module.training_step(torch.randn(4, channels(type_of(kind)), *shape), 0)
    assert 0 < float(module.last["adaptive_weight"]) < 1e4
    assert float(module.last["gradient_ratio"]) > 0


@pytest.mark.parametrize("objective", ["vanilla", "least_squares", "wgan"])
def test_every_objective_trains(objective):
    module = training(objective=objective, gradient_penalty=10.0, discriminator=NORMED)
    before = parameters(module.adversary)
    for step in range(2):
        module.training_step(windows(seed=step), step)
    assert moved(before, module.adversary)
    assert all(torch.isfinite(value).all() for value in module.parameters())
    assert {"generator", "discriminator", "gradient_penalty", "logits_real"} <= module.last.keys()


def test_accumulated_batches_equal_one_large_batch():
    settings = {"adaptive": "none", "feature_matching": 0.5, "weight": 0.5}
    whole, halves = training(**settings), training(train={"accumulate": 2}, **settings)
    x = windows(batch=8)
    expected = gradients_of_a_step(whole, x)
    found = gradients_of_a_step(halves, x[:4])
    assert not found
    found = gradients_of_a_step(halves, x[4:])
    for network in ("codec", "discriminator"):
        for a, b in zip(found[network], expected[network], strict=True):
            torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-6)


@in_every_dimension
def test_before_the_start_the_codec_trains_as_without_a_discriminator(kind):
    rival = training(kind, {"clip": 0.5}, start=4, lead=3, noise=InstanceNoiseSpec())
    torch.manual_seed(0)
    codec = small_codec(kind)
    alone = CodecTraining(codec, rival.losses, rival.weights, rival.spec)
    optimizer = alone.configure_optimizers()
    for step in range(4):
        x = windows(kind, seed=step)
        before = parameters(rival.adversary)
        rival.training_step(x, step)
        assert moved(before, rival.adversary) == (step >= 1)
        alone.training_step(x, step).backward()
        nn.utils.clip_grad_norm_(codec.parameters(), 0.5)
        optimizer["optimizer"].step()
        optimizer["optimizer"].zero_grad()
        optimizer["lr_scheduler"]["scheduler"].step()
    for name, value in codec.state_dict().items():
        assert torch.equal(value, rival.codec.state_dict()[name]), name


@in_every_dimension
def test_a_discriminator_learns_what_is_plain_to_see(kind):
    """The untrained codec stands still; its reconstructions look nothing like noise."""
    slow = {"optimizer": OptimizerSpec(lr=1e-12), "steps": 60}
    module = training(kind, slow, start=59, lead=59, optimizer={"lr": 3e-3})
    for step in range(40):
        module.training_step(windows(kind, seed=step), step)
    first = 2 * math.log(2)
    assert module.last["logits_real"] > module.last["logits_fake"] + 0.5
    assert module.last["discriminator"] < 0.8 < first


def test_the_discriminator_trains_every_third_step_from_its_first():
    module = training(start=8, lead=6, every=3)
    changed = []
    for step in range(10):
        before = parameters(module.adversary)
        module.training_step(windows(seed=step), step)
        if moved(before, module.adversary):
            changed.append(step)
    assert changed == [2, 5, 8]


def test_ramp_lead_and_noise_are_analytic():
    spec = AdversarialSpec(start=100, lead=40, ramp=10, noise=InstanceNoiseSpec(scale=0.2))
    timeline = Timeline(spec, steps=260)
    assert [timeline.trains(step) for step in (59, 60, 100)] == [False, True, True]
    assert [timeline.counts(step) for step in (99, 100)] == [False, True]
    assert [timeline.ramp(step) for step in (99, 100, 104, 109, 200)] == pytest.approx([0, 0.1, 0.5, 1, 1])
    # half of the discriminator's 200 steps
    assert [timeline.noise(step) for step in (60, 110, 160, 200)] == pytest.approx([0.2, 0.1, 0, 0])


def test_the_ramp_scales_the_codecs_term():
    """The term at weight 1 without adaptation is -mean(logits), of which the ramp takes a share."""
    module = training(weight=1.0, adaptive="none", ramp=4, optimizer={"lr": 1e-12})
    for step in range(5):
        module.training_step(windows(seed=9), step)
        share = module.last["generator"] / -module.last["logits_fake"]
        assert float(share) == pytest.approx(min(1, (step + 1) / 4), rel=1e-4)


@pytest.mark.parametrize("network", ["codec", "discriminator"])
def test_gradients_of_both_are_clipped(network):
    module = training(train={"clip": 1e-3}, clip=1e-3)
    norm = torch.stack([g.norm() for g in gradients_of_a_step(module, windows())[network]]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(("side", "name"), [("generator", "generator"), ("discriminator", "discriminator")])
def test_a_term_that_is_not_a_number_is_named_and_changes_nothing(side, name, monkeypatch):
    module = training()
    monkeypatch.setattr(
        module.adversary.objective, side, lambda *logits: math.nan * sum(x.mean() for x in logits)
    )
    before = parameters(module)
    with pytest.raises(RunError, match=rf"diverged at step 1: not finite: {name}\b"):
        module.training_step(windows(), 0)
    assert not moved(before, module)


def test_an_infinite_gradient_is_named_by_its_network():
    module = training(start=50, lead=50)
    last = next(module.adversary.discriminator.parameters())
    last.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(RunError, match="not finite: gradient of the discriminator"):
        module.training_step(windows(), 0)


def scaled_update(scale=2.0**8):
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = GradScaler("cpu", init_scale=scale)
    return weight, Update("discriminator", optimizer, None, scaler)


def take(update, loss, step=1):
    update.scaled(loss).backward()
    finite = bool(update.gradient_norm().isfinite())
    update.step(finite, step)


def test_a_scaled_update_is_that_of_the_plain_gradient():
    weight, update = scaled_update()
    take(update, 0.5 * weight.square().sum())
    assert torch.equal(weight.detach(), torch.zeros(3))
    assert update.skipped == 0


def test_an_overflow_is_skipped_counted_and_halves_the_scale():
    weight, update = scaled_update()
    take(update, weight.sum() * math.inf)
    assert torch.equal(weight.detach(), torch.ones(3))
    assert update.skipped == update.in_a_row == 1
    assert float(update.scale(torch.device("cpu"))) == 2.0**7
    take(update, weight.sum())
    assert (update.skipped, update.in_a_row) == (1, 0)


def test_persistent_overflow_is_named():
    weight, update = scaled_update()
    for step in range(1, PERSISTENT):
        take(update, weight.sum() * math.inf, step)
    with pytest.raises(RunError, match=rf"fp16 overflowed in {PERSISTENT} updates of the discriminator"):
        take(update, weight.sum() * math.inf, PERSISTENT)


def test_with_two_loss_scales_lightning_has_none():
    trainer = pl.Trainer(accelerator="cpu", logger=False, **by_hand(TrainSpec(precision="fp16")))
    assert not trainer.precision_plugin.scaler.is_enabled()
    assert trainer.precision_plugin.state_dict() == {}


def test_state_continues_a_training():
    settings = {"noise": InstanceNoiseSpec(scale=0.3), "gradient_penalty": 5.0, "every": 2}
    whole = training(**settings)
    for step in range(3):
        whole.training_step(windows(seed=step), step)
    state = copy.deepcopy(whole.more_state())
    other = training(**settings)
    other.codec.load_state_dict(copy.deepcopy(whole.codec.state_dict()))
    other.updates["codec"].optimizer.load_state_dict(
        copy.deepcopy(whole.updates["codec"].optimizer.state_dict())
    )
    other.steps_done = 3
    other.load_more_state(state)
    other.set_schedule(None, 3)
    for step in range(3, 6):
        for module in (whole, other):
            module.training_step(windows(seed=step), step)
        assert all(torch.equal(whole.last[name], other.last[name]) for name in whole.last)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
