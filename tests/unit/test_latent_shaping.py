"""Alignment, equivariance and labels in single steps of a training."""

import numpy as np
import pytest
import torch

from anycodec.config.adversarial import AdversarialSpec
from anycodec.config.alignment import AlignmentSpec, AlignmentStage
from anycodec.config.codec import KlVaeSpec
from anycodec.config.discriminator import PatchGanSpec
from anycodec.config.equivariance import EquivarianceSpec
from anycodec.config.loss import MseSpec
from anycodec.config.teacher import DinoV2Teacher
from anycodec.config.train import OptimizerSpec, ScheduleStage, StagedSchedule, TrainSpec
from anycodec.torch.codecs import make_codec
from anycodec.torch.losses import make_losses
from anycodec.torch.shaping.alignment import Alignment
from anycodec.torch.shaping.equivariance import Equivariance, shifted, shrunk
from anycodec.torch.training.adversarial import AdversarialTraining
from anycodec.torch.training.adversary import Adversary
from anycodec.torch.training.batch import Labelled
from anycodec.torch.training.module import CodecTraining
from anycodec.training.schedule import schedule_factor, stage_at

SMALL = KlVaeSpec(
    base_channels=4,
    channel_multipliers=(1, 1, 2),
    attention_levels=(),
    mid_attention=False,
    res_blocks=1,
    latent_channels=3,
    norm_groups=2,
)


class Squares:
    """A teacher whose features are powers of each 4 x 4 block's mean."""

    width = 5

    def __call__(self, windows):
        means = windows.mean(axis=1).reshape(len(windows), 4, 4, 4, 4).mean(axis=(2, 4))
        return np.stack([means**i for i in range(5)], axis=1).astype(np.float32)


class Bare(AdversarialTraining):
    """Without Lightning's trainer."""

    def manual_backward(self, loss):
        loss.backward()


def klvae(classes=0, **settings):
    torch.manual_seed(0)
    return make_codec(SMALL.model_copy(update=settings), 1, classes)


def windows(batch=3, seed=1):
    return torch.randn(batch, 1, 16, 16, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def alignment_of(codec, **settings):
    spec = AlignmentSpec(teacher=DinoV2Teacher(), **settings)
    torch.manual_seed(5)
    return Alignment(spec, 3, Squares(), codec.encoder_last_layer())


def training(codec, shaping, adversarial=None, steps=100):
    losses, spec = {"mse": MseSpec(weight=2.0)}, TrainSpec(steps=steps, clip=None)
    terms, weights = make_losses(losses), {"mse": 2.0}
    if adversarial is None:
        return CodecTraining(codec, terms, weights, spec, shaping)
    module = Bare(codec, terms, weights, spec, Adversary(adversarial, 1, 2, seed=3), shaping=shaping)
    module.configure_optimizers()
    return module


def gradient(value, weight):
    return torch.autograd.grad(value, weight, retain_graph=True)[0]


def written_out(codec, alignment, x, stage, pull=lambda mse: mse):
    """The step's sum without the discriminator's part, after Yao et al. 2025, eq. 3 to 7."""
    torch.manual_seed(7)
    out = codec(x)
    z = torch.einsum("fd,bdhw->bfhw", alignment.projection.weight[:, :, 0, 0], out.latents)
    f = torch.from_numpy(Squares()(x.numpy()))
    units = [t.flatten(2) / t.flatten(2).norm(dim=1, keepdim=True) for t in (z, f)]
    cosine = (1 - stage.cosine_margin - (units[0] * units[1]).sum(dim=1)).relu().mean()
    own, theirs = (u.mT @ u for u in units)
    distance = ((own - theirs).abs() - stage.distance_margin).relu().mean()
    mse = 2 * (out.reconstruction - x).square().mean()
    last = codec.encoder_last_layer()
    adaptive = gradient(mse, last).norm() / (gradient(cosine + distance, last).norm() + 1e-4)
    weight = stage.weight * adaptive.detach()
    return mse + out.losses["kl"] + weight * (cosine + distance), weight, out


def test_a_step_is_what_the_paper_says():
    codec, x, stage = klvae(), windows(), AlignmentStage(weight=0.3, cosine_margin=0.1, distance_margin=0.05)
    alignment = alignment_of(codec, stages=(stage,))
    module = training(codec, [alignment])
    trained = [*codec.parameters(), *alignment.parameters()]
    total, weight, _ = written_out(codec, alignment, x, stage)
    expected = torch.autograd.grad(total, trained)
    torch.manual_seed(7)
    module.training_step(x, 0).backward()
    assert module.last["alignment_weight"] == pytest.approx(float(weight), rel=1e-5)
    for ours, wanted in zip((p.grad for p in trained), expected, strict=True):
        assert torch.allclose(ours, wanted, rtol=1e-4, atol=1e-6 * float(wanted.abs().max()) + 1e-12)


def test_a_step_against_a_discriminator_too():
    """Both adaptive weights compare with the reconstruction terms alone."""
    codec, x, stage = klvae(), windows(), AlignmentStage(weight=0.3)
    alignment = alignment_of(codec, stages=(stage,))
    tiny = PatchGanSpec(base_channels=4, layers=1, norm="none")
    module = training(
        codec, [alignment], AdversarialSpec(discriminator=tiny, start=0, lead=0, ramp=0, weight=0.4)
    )
    total, weight, out = written_out(codec, alignment, x, stage)
    generator = -module.adversary.discriminator(out.reconstruction).logits.mean()
    last = codec.last_layer()
    mse = 2 * (out.reconstruction - x).square().mean()
    ratio = gradient(mse, last).norm() / (gradient(generator, last).norm() + 1e-4)
    trained = [*codec.parameters(), *alignment.parameters()]
    expected = torch.autograd.grad(total + 0.4 * ratio.detach() * generator, trained)
    found = {}
    module.updates["codec"].step = lambda *_: found.update(grads=[p.grad for p in trained])
    torch.manual_seed(7)
    module.training_step(x, 0)
    assert module.last["alignment_weight"] == pytest.approx(float(weight), rel=1e-4)
    for ours, wanted in zip(found["grads"], expected, strict=True):
        assert torch.allclose(ours, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()) + 1e-12)


def test_the_projection_is_trained_and_is_no_part_of_the_codec():
    codec = klvae()
    module = training(codec, [alignment_of(codec)])
    groups = module.configure_optimizers()["optimizer"].param_groups
    trained = {id(p) for group in groups for p in group["params"]}
    assert {id(p) for p in [*codec.parameters(), *module.shaping.parameters()]} == trained
    assert [name for name in codec.state_dict() if "projection" in name] == []
    assert list(module.more_state()["shaping"]) == ["0.projection.weight"]
    assert sum(len(group["params"]) for group in groups) == len(trained)


def test_alignment_does_not_move_the_random_numbers_of_a_training():
    codec, x = klvae(), windows()
    torch.manual_seed(2)
    alignment_of_state = torch.get_rng_state()
    Alignment(AlignmentSpec(teacher=DinoV2Teacher()), 3, Squares(), codec.encoder_last_layer())
    assert torch.equal(torch.get_rng_state(), alignment_of_state)
    module = training(codec, [alignment_of(codec)])
    torch.manual_seed(7)
    module.training_step(x, 0)
    with_alignment = torch.get_rng_state()
    torch.manual_seed(7)
    codec(x)
    assert torch.equal(torch.get_rng_state(), with_alignment)


def test_alignment_alone_makes_latents_alike_the_features():
    codec, x = klvae(), windows(8)
    alignment = alignment_of(
        codec, adaptive=False, stages=(AlignmentStage(weight=1.0, cosine_margin=0, distance_margin=0),)
    )
    module = training(codec, [alignment])
    optimizer = torch.optim.Adam([*codec.parameters(), *alignment.parameters()], 1e-2)
    seen = []
    for step in range(25):
        optimizer.zero_grad()
        module.training_step(x, step).backward()
        optimizer.step()
        seen.append(float(module.last["alignment"]))
    assert seen[-1] < 0.6 * seen[0]


def test_stages_share_the_steps():
    """45, 15 and 30 epochs of 90: the seed's recipe."""
    stages = [stage_at((45, 15, 30), step, 900) for step in (0, 449, 450, 599, 600, 899, 900)]
    assert stages == [0, 0, 1, 1, 2, 2, 2]
    schedule = StagedSchedule(
        stages=tuple(ScheduleStage(share=share, lr=lr) for share, lr in ((45, 1e-4), (15, 5e-5), (30, 2e-5)))
    )
    factor = schedule_factor(TrainSpec(steps=90, optimizer=OptimizerSpec(lr=1e-4), schedule=schedule))
    assert [factor(step) for step in (0, 44, 45, 59, 60, 89)] == pytest.approx([1, 1, 0.5, 0.5, 0.2, 0.2])
    warm = schedule.model_copy(update={"warmup": 4})
    factor = schedule_factor(TrainSpec(steps=90, optimizer=OptimizerSpec(lr=1e-4), schedule=warm))
    assert [factor(step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_a_later_stage_has_weights_and_margins_of_its_own():
    codec, x = klvae(), windows()
    off = AlignmentStage(share=1, weight=0.0)
    module = training(codec, [alignment_of(codec, stages=(AlignmentStage(share=3), off))], steps=4)
    weights = []
    for step in range(4):
        module.steps_done = step
        module.training_step(x, step)
        weights.append(float(module.last["alignment_weight"]))
    assert weights[3] == 0
    assert all(weight > 0 for weight in weights[:3])


# --- equivariance -------------------------------------------------------------------------------


def test_a_shift_of_whole_positions_moves_both_alike():
    x = torch.arange(16.0).expand(1, 1, 4, 16)
    z = torch.arange(4.0).expand(1, 2, 1, 4)
    moved_x, moved_z = shifted(x, z, 1.0)
    assert torch.equal(moved_x, x[..., 4:])
    assert torch.equal(moved_z, z[..., 1:])


def test_a_shift_by_half_a_position_lies_between():
    x = torch.arange(16.0).expand(1, 1, 4, 16)
    z = torch.arange(4.0).expand(1, 2, 1, 4)
    moved_x, moved_z = shifted(x, z, 0.5)
    assert torch.equal(moved_x, x[..., 2:14])
    assert torch.equal(moved_z, z[..., :-1] + 0.5)


@pytest.mark.parametrize(("scale", "grid"), [(1.0, (4, 6)), (0.5, (2, 3)), (0.01, (1, 1))])
def test_shrinking_keeps_windows_and_latents_together(scale, grid):
    x, z = torch.full((2, 1, 16, 24), 0.5), torch.full((2, 3, 4, 6), -2.0)
    small_x, small_z = shrunk(x, z, scale)
    assert small_z.shape[2:] == grid
    assert small_x.shape[2:] == tuple(4 * places for places in grid)
    assert torch.allclose(small_x, torch.tensor(0.5))
    assert torch.allclose(small_z, torch.tensor(-2.0))


@pytest.mark.parametrize(("smallest", "shift"), [(1.0, True), (0.25, False), (0.25, True)])
def test_equivariance_is_a_term_of_the_sum_and_reaches_the_encoder(smallest, shift):
    codec = klvae()
    module = training(
        codec, [Equivariance(EquivarianceSpec(smallest_scale=smallest, shift=shift, weight=0.5))]
    )
    torch.manual_seed(3)
    total = module.training_step(windows(), 0)
    mse, kl, equivariance = (float(module.last[name]) for name in ("mse", "kl", "equivariance"))
    parts = mse + codec.quantizer.weight * kl + equivariance
    assert float(total.detach()) == pytest.approx(parts, rel=1e-5)
    assert 0 < equivariance < 1
    total.backward()
    assert float(codec.encoder_last_layer().grad.abs().max()) > 0


# --- labels -------------------------------------------------------------------------------------


def with_labels(**settings):
    return klvae(classes=3, label_channels=8, **settings)


def test_labels_change_latents_and_pictures():
    codec, x = with_labels().eval(), windows(2)
    with torch.no_grad():
        z = [codec.latents(x, torch.tensor([label, label])) for label in (0, 1)]
        pictures = [codec.decode_latents(z[0], torch.tensor([label, label])) for label in (0, 1)]
    assert not torch.allclose(*z, atol=1e-3)
    assert not torch.allclose(*pictures, atol=1e-4)


def test_without_labels_each_window_has_none():
    codec, x = with_labels().eval(), windows(2)
    with torch.no_grad():
        plain = codec(x).reconstruction
        for none in (-1, 3):
            assert torch.equal(codec(x, torch.tensor([none, none])).reconstruction, plain)
        z = codec.latents(x)
        assert torch.equal(codec.decode_latents(z), plain)


def test_hidden_labels_are_trained_as_none():
    codec = with_labels(label_dropout=0.5)
    torch.manual_seed(0)
    known = codec.condition.known(torch.zeros(1000, dtype=torch.int64), torch.zeros(1000, 1))
    assert set(known.tolist()) == {0, 3}
    assert 400 < (known == 3).sum() < 600
    codec.eval()
    assert codec.condition.known(torch.tensor([2]), torch.zeros(1, 1)).tolist() == [2]


def test_a_step_with_labels():
    codec = with_labels(label_dropout=0.0)
    module = training(codec, [alignment_of(codec), Equivariance(EquivarianceSpec())])
    module.training_step(Labelled(windows(3), torch.tensor([0, 2, -1])), 0).backward()
    gradients = codec.condition.embedding.weight.grad.abs().sum(dim=1)
    assert (gradients[[0, 2, 3]] > 0).all()
    assert gradients[1] == 0


def test_a_codec_without_label_channels_is_what_it_was():
    assert [name for name in klvae(classes=3).state_dict() if "condition" in name] == []
