"""The contract that every quantizer keeps, whatever its kind."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from anycodec.torch.quantizers import make_quantizer
from contracts.specs import quantizer_variants

DIM = 4
GRIDS = [(7,), (3, 5), (2, 3, 2)]
VARIANTS = quantizer_variants()
OTHER_VALUES_IN_TRAINING = (
    "residual, one codebook",  # a stage learns before the next one uses the codebook
    "residual with dropout",  # restored from fewer tokens
)
WITH_TOKENS = [name for name, spec in VARIANTS.items() if spec.codebook_sizes]

every_quantizer = pytest.mark.parametrize("name", VARIANTS)
every_quantizer_with_tokens = pytest.mark.parametrize("name", WITH_TOKENS)
every_grid = pytest.mark.parametrize("grid", GRIDS, ids=["1d", "2d", "3d"])


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def build(name, **settings):
    return make_quantizer(quantizer_variants(**settings)[name], DIM)


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same_tokens(ours, theirs):
    assert len(ours) == len(theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def loss_of(out):
    return sum(out.losses.values(), out.values.new_zeros(()))


@every_quantizer
@every_grid
@pytest.mark.parametrize("batch", [1, 3])
def test_shapes_and_ranges(name, grid, batch):
    quantizer = build(name)
    z = torch.randn(batch, DIM, *grid, requires_grad=True)
    out = quantizer(z)
    assert out.values.shape == z.shape
    assert quantizer.codebook_sizes == VARIANTS[name].codebook_sizes
    assert len(out.tokens) == len(quantizer.codebook_sizes)
    for tokens, size in zip(out.tokens, quantizer.codebook_sizes, strict=True):
        assert tokens.shape == (batch, *grid)
        assert tokens.dtype == torch.int64
        assert tokens.min() >= 0
        assert tokens.max() < size
    assert all(term.shape == () and term.requires_grad for term in out.losses.values())
    assert all(figure.shape == () and not figure.requires_grad for figure in out.stats.values())


@pytest.mark.parametrize("name", [name for name in WITH_TOKENS if name not in OTHER_VALUES_IN_TRAINING])
@every_grid
def test_lookup_gives_the_values_of_training(name, grid):
    quantizer = build(name)
    before = copy.deepcopy(quantizer)
    out = quantizer(torch.randn(2, DIM, *grid))
    torch.testing.assert_close(before.lookup(out.tokens), out.values, atol=1e-6, rtol=0)


@every_quantizer_with_tokens
@every_grid
def test_lookup_gives_exactly_the_values_of_evaluation(name, grid):
    """In the same order in memory too: convolutions round by it."""
    quantizer = build(name).eval()
    out = quantizer(torch.randn(2, DIM, *grid))
    found = quantizer.lookup(out.tokens)
    assert torch.equal(found, out.values)
    assert found.stride() == out.values.stride()


@every_quantizer_with_tokens
def test_any_tokens_can_be_looked_up(name):
    quantizer = build(name)
    tokens = tuple(torch.randint(size, (2, 9)) for size in quantizer.codebook_sizes)
    values = quantizer.lookup(tokens)
    assert values.shape == (2, DIM, 9)
    assert torch.isfinite(values).all()


@every_quantizer
@pytest.mark.parametrize("training", [True, False])
def test_values_carry_a_gradient_to_latents(name, training):
    z = torch.randn(2, DIM, 7, requires_grad=True)
    out = build(name).train(training)(z)
    (out.values * torch.randn_like(z)).sum().backward()
    assert torch.isfinite(z.grad).all()
    assert z.grad.abs().amax(dim=(0, 2)).min() > 0, "every channel gets some"


@every_quantizer
def test_gradients_reach_all_parameters(name):
    quantizer = build(name)
    z = torch.randn(4, DIM, 20, requires_grad=True)
    out = quantizer(z)
    ((out.values - z).square().mean() + loss_of(out)).backward()
    without = [n for n, p in quantizer.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert without == []


@every_quantizer
@pytest.mark.parametrize("scale", [0, 1e5])
def test_extreme_latents_keep_gradients_finite(name, scale):
    z = (scale * torch.randn(2, DIM, 7)).requires_grad_()
    quantizer = build(name)
    out = quantizer(z)
    (out.values.sum() + loss_of(out)).backward()
    assert torch.isfinite(z.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in quantizer.parameters())


@every_quantizer
def test_evaluation_changes_nothing(name):
    quantizer = build(name, kmeans_init=True, restart_after=1)
    quantizer(torch.randn(2, DIM, 9))
    quantizer(torch.randn(2, DIM, 2))
    quantizer.eval()
    before = snapshot(quantizer)
    outs = [quantizer(torch.ones(2, DIM, 9)) for _ in range(3)]
    after = quantizer.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(torch.equal(out.values, outs[0].values) for out in outs)


@every_quantizer
def test_state_survives_safetensors(name):
    trained = build(name, kmeans_init=True)
    trained(torch.randn(2, DIM, 50))
    restored = build(name)
    restored.load_state_dict(load(save(trained.state_dict())))
    z = torch.randn(2, DIM, 9)
    ours, theirs = trained.eval()(z), restored.eval()(z)
    assert_same_tokens(ours.tokens, theirs.tokens)
    assert torch.equal(ours.values, theirs.values)


@every_quantizer
def test_a_value_depends_on_its_own_latent_only(name):
    quantizer = build(name).eval()
    z = torch.randn(3, DIM, 6)
    together = quantizer(z)
    alone = [quantizer(z[b : b + 1, :, t : t + 1]) for b in range(3) for t in range(6)]
    for level, tokens in enumerate(together.tokens):
        assert tokens.flatten().tolist() == [one.tokens[level].item() for one in alone]
    values = torch.cat([one.values for one in alone], dim=2).reshape(DIM, 3, 6).movedim(1, 0)
    torch.testing.assert_close(together.values, values, atol=1e-6, rtol=0)


@every_quantizer
def test_mixed_precision_gives_the_same_tokens(name):
    quantizer = build(name, codebook_size=256, levels=(16, 16)).eval()
    z = torch.randn(2, DIM, 100)
    plain = quantizer(z)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = quantizer(z)
        found = quantizer.lookup(plain.tokens) if plain.tokens else mixed.values
    assert_same_tokens(plain.tokens, mixed.tokens)
    assert torch.equal(plain.values, mixed.values)
    assert torch.equal(plain.values, found)


@every_quantizer
def test_latents_of_low_precision_are_taken(name):
    quantizer = build(name)
    with torch.autocast("cpu", torch.bfloat16):
        out = quantizer(torch.randn(2, DIM, 7).bfloat16().requires_grad_())
        (out.values.float().sum() + loss_of(out)).backward()
    assert all(term.dtype == torch.float32 for term in out.losses.values())


@every_quantizer
def test_codes_start_and_restart_in_full_precision(name):
    """Under autocast as without."""
    quantizers = [build(name, kmeans_init=True, restart_after=1) for _ in range(2)]
    quantizers[1].load_state_dict(quantizers[0].state_dict())
    z = [torch.randn(2, DIM, 60), torch.randn(2, DIM, 60)]
    for quantizer, mixed in zip(quantizers, (False, True), strict=True):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            for batch in z:
                quantizer(batch)
    plain, mixed = (quantizer.state_dict() for quantizer in quantizers)
    for key, value in plain.items():
        torch.testing.assert_close(mixed[key], value)


@every_quantizer_with_tokens
def test_perplexity_and_use_of_each_level(name):
    """exp of the entropy of the tokens, and the share of codes that occur, in NumPy."""
    quantizer = build(name).eval()
    out = quantizer(torch.randn(2, DIM, 30))
    expected = {"perplexity": [], "codes_used": []}
    for tokens, size in zip(out.tokens, quantizer.codebook_sizes, strict=True):
        p = np.bincount(tokens.flatten().numpy(), minlength=size) / tokens.numel()
        present = p[p > 0]
        expected["perplexity"].append(np.exp(-(present * np.log(present)).sum()))
        expected["codes_used"].append(len(present) / size)
    for figure, levels in expected.items():
        assert out.stats[figure].item() == pytest.approx(np.mean(levels), rel=1e-5)
        if len(levels) > 1:
            found = [out.stats[f"{figure}_{level}"].item() for level in range(len(levels))]
            assert found == pytest.approx(levels, rel=1e-5)


@every_quantizer
def test_a_start_from_latents_is_wanted_once(name):
    quantizer = build(name, kmeans_init=True)
    assert build(name).latents_wanted == 0
    if quantizer.latents_wanted == 0:
        return
    latents = 5 + torch.randn(600, DIM)

    def error():
        quantizer.eval()
        found = (quantizer(latents.T[None]).values - latents.T).square().mean().item()
        quantizer.train()
        return found

    before = error()
    quantizer.start(latents)
    assert error() < before
    assert quantizer.latents_wanted == 0


@every_quantizer
def test_training_learns_a_map(name):
    """Points of a square through a learned line-up of latents: the error falls to a third of theirs."""
    torch.manual_seed(3)
    encoder = torch.nn.Linear(2, DIM)
    decoder = torch.nn.Linear(DIM, 2)
    quantizer = build(name, codebook_size=16, kmeans_init=True, levels=(4, 4), restart_after=20)
    parameters = [p for m in (encoder, decoder, quantizer) for p in m.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-2)

    def error_and_loss():
        x = torch.rand(128, 2) * 2 - 1
        out = quantizer(encoder(x).T[None])
        error = (decoder(out.values[0].T) - x).square().mean()
        return error, error + loss_of(out)

    for _ in range(60):
        optimizer.zero_grad()
        error_and_loss()[1].backward()
        optimizer.step()
    quantizer.eval()
    # the variance of a side is 1 / 3
    assert error_and_loss()[0].item() < 1 / 9
