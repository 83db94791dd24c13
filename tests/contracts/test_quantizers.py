"""The contract that every quantizer keeps, whatever its kind."""

import copy
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch.utils._python_dispatch import TorchDispatchMode

from anycodec.torch.quantizers import make_quantizer
from contracts.specs import QUANTIZERS, quantizer_spec, type_of

DIM = 4
GRIDS = [(7,), (3, 5), (2, 3, 2)]

every_quantizer = pytest.mark.parametrize("kind", QUANTIZERS, ids=type_of)
every_grid = pytest.mark.parametrize("grid", GRIDS, ids=["1d", "2d", "3d"])


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that an operation makes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def build(kind, dim=DIM, **settings):
    return make_quantizer(quantizer_spec(kind, **settings), dim)


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@every_quantizer
@every_grid
@pytest.mark.parametrize("batch", [1, 3])
def test_shapes_and_ranges(kind, grid, batch):
    quantizer = build(kind)
    z = torch.randn(batch, DIM, *grid, requires_grad=True)
    out = quantizer(z)
    assert out.values.shape == z.shape
    assert len(out.tokens) == len(quantizer.codebook_sizes)
    for tokens, size in zip(out.tokens, quantizer.codebook_sizes, strict=True):
        assert tokens.shape == (batch, *grid)
        assert tokens.dtype == torch.int64
        assert tokens.min() >= 0
        assert tokens.max() < size
    assert all(term.shape == () and term.requires_grad for term in out.losses.values())
    assert all(figure.shape == () for figure in out.stats.values())


@every_quantizer
@every_grid
@pytest.mark.parametrize("training", [True, False])
def test_lookup_gives_the_values_of_forward(kind, grid, training):
    quantizer = build(kind).train(training)
    before = copy.deepcopy(quantizer)
    out = quantizer(torch.randn(2, DIM, *grid))
    assert torch.equal(before.lookup(out.tokens), out.values)


@every_quantizer
@pytest.mark.parametrize("training", [True, False])
def test_gradient_passes_straight_through(kind, training):
    z = torch.randn(2, DIM, 7, requires_grad=True)
    upstream = torch.randn_like(z)
    build(kind).train(training)(z).values.backward(upstream)
    assert torch.equal(z.grad, upstream)


@every_quantizer
def test_commitment_pulls_latents_to_their_codes(kind):
    """d(beta mean |z - sg q|^2) / dz = 2 beta (z - q) / n; no other term reaches the latents."""
    z = torch.randn(2, DIM, 7, requires_grad=True)
    out = build(kind, beta=0.25)(z)
    sum(out.losses.values()).backward()
    expected = 2 * 0.25 * (z - out.values) / z.numel()
    torch.testing.assert_close(z.grad, expected.detach())


@every_quantizer
def test_evaluation_changes_nothing(kind):
    quantizer = build(kind, kmeans_init=True, restart_after=1)
    quantizer(torch.randn(2, DIM, 9))
    quantizer(torch.randn(2, DIM, 2))
    quantizer.eval()
    before = snapshot(quantizer)
    assert before["idle"].max() >= 1, "codes wait for their restart"
    for _ in range(3):
        quantizer(torch.randn(2, DIM, 9))
    after = quantizer.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@every_quantizer
def test_state_survives_safetensors(kind):
    trained = build(kind, kmeans_init=True)
    trained(torch.randn(2, DIM, 50))
    restored = build(kind)
    restored.load_state_dict(load(save(trained.state_dict())))
    z = torch.randn(2, DIM, 9)
    ours, theirs = trained.eval()(z), restored.eval()(z)
    assert torch.equal(ours.tokens[0], theirs.tokens[0])
    assert torch.equal(ours.values, theirs.values)


@every_quantizer
def test_tokens_are_the_nearest_codes(kind):
    quantizer = build(kind, codebook_size=200).eval()
    z = torch.randn(4, DIM, 50)
    index = quantizer(z).tokens[0].flatten().numpy()
    flat = z.movedim(1, -1).reshape(-1, DIM).double().numpy()
    table = quantizer.codes().detach().double().numpy()
    distances = ((flat[:, None] - table[None]) ** 2).sum(-1)
    excess = distances[np.arange(len(flat)), index] - distances.min(axis=1)
    assert excess.max() < 1e-5


@every_quantizer
def test_a_token_depends_on_its_own_latent_only(kind):
    quantizer = build(kind).eval()
    z = torch.randn(3, DIM, 6)
    together = quantizer(z).tokens[0]
    alone = torch.cat([quantizer(z[b : b + 1, :, t : t + 1]).tokens[0] for b in range(3) for t in range(6)])
    assert torch.equal(together.flatten(), alone.flatten())


@every_quantizer
def test_mixed_precision_gives_the_same_tokens(kind):
    quantizer = build(kind, codebook_size=256).eval()
    z = torch.randn(2, DIM, 100)
    plain = quantizer(z)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = quantizer(z)
    assert torch.equal(plain.tokens[0], mixed.tokens[0])
    assert torch.equal(plain.values, mixed.values)


@every_quantizer
def test_a_step_makes_no_table_of_latents_by_codes(kind):
    latents, codes = 30_000, 20_000
    quantizer = build(kind, codebook_size=codes, restart_after=1)
    z = torch.randn(1, DIM, latents, requires_grad=True)
    with LargestTensor() as largest:
        out = quantizer(z)
        (out.values.sum() + sum(out.losses.values())).backward()
    assert largest.elements <= 2**22 < latents * codes / 100


@every_quantizer
def test_perplexity_and_use(kind):
    """8 + 4 + 4 latents on three codes: entropy 1.5 bits, perplexity 2^1.5, 3 of 16 codes."""
    quantizer = build(kind).eval()
    codes = quantizer.codes().detach()
    z = codes[torch.tensor([3] * 8 + [7] * 4 + [11] * 4)].T[None]
    stats = quantizer(z).stats
    assert float(stats["perplexity"]) == pytest.approx(2**1.5, rel=1e-6)
    assert float(stats["codes_used"]) == pytest.approx(3 / 16)


@every_quantizer
def test_training_uses_the_codebook(kind):
    """Latents of a learned map of uniform points; started and revived codes share them."""
    torch.manual_seed(3)
    encoder = torch.nn.Linear(2, DIM)
    decoder = torch.nn.Linear(DIM, 2)
    quantizer = build(kind, codebook_size=64, kmeans_init=True, kmeans_after=5, restart_after=20)
    parameters = [p for m in (encoder, decoder, quantizer) for p in m.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    for _ in range(150):
        x = torch.rand(512, 2) * 2 - 1
        out = quantizer(encoder(x).T[None])
        loss = (decoder(out.values[0].T) - x).square().mean() + sum(out.losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    quantizer.eval()
    x = torch.rand(4096, 2) * 2 - 1
    out = quantizer(encoder(x).T[None])
    error = (decoder(out.values[0].T) - x).square().mean()
    assert float(out.stats["codes_used"]) >= 0.9
    # 64 square cells of side 1/4 leave an error of (1/4)^2 / 12 = 0.0052 a coordinate
    assert error.item() < 3 * 0.25**2 / 12


@every_quantizer
def test_warm_up_passes_latents_through(kind):
    quantizer = build(kind, kmeans_init=True, kmeans_after=2)
    z = torch.randn(2, DIM, 40)
    for _ in range(2):
        out = quantizer(z)
        assert torch.equal(out.values, z)
        assert all(term.item() == 0 for term in out.losses.values())
    out = quantizer(z)
    assert not torch.equal(out.values, z)
    assert not torch.equal(quantizer.eval()(z).values, z)


@every_quantizer
def test_kmeans_start_fits_the_first_batch(kind):
    """Two tight heaps and two codes: the codes start at the heaps' means."""
    heaps = torch.tensor([[5.0] * DIM, [-5.0] * DIM])
    z = heaps.repeat_interleave(50, dim=0) + 0.01 * torch.randn(100, DIM)
    out = build(kind, codebook_size=2, kmeans_init=True)(z.T[None])
    torch.testing.assert_close(out.values[0].T, heaps.repeat_interleave(50, dim=0), atol=0.01, rtol=0)


@every_quantizer
def test_more_codes_than_latents_starts_with_a_warning(kind):
    quantizer = build(kind, codebook_size=64, kmeans_init=True)
    z = torch.randn(1, DIM, 10)
    with pytest.warns(UserWarning, match="64 codes start from 10 latents"):
        out = quantizer(z)
    torch.testing.assert_close(out.values, z, atol=0.1, rtol=0)
    assert torch.isfinite(quantizer.codes()).all()


@every_quantizer
def test_dead_codes_move_to_latents(kind):
    quantizer = build(kind, codebook_size=8, restart_after=3)
    with torch.no_grad():
        quantizer.place(torch.arange(8), 10.0 + torch.arange(8.0)[:, None].expand(8, DIM), torch.ones(8))
    near_code_0 = 10.0 + 0.01 * torch.randn(1, DIM, 20)
    for _ in range(3):
        quantizer(near_code_0)
    untouched = quantizer.codes()[1:].detach()
    torch.testing.assert_close(untouched[:, 0], 10.0 + torch.arange(1.0, 8), atol=0.2, rtol=0)
    quantizer(near_code_0)
    moved = quantizer.codes()[1:].detach()
    latents = near_code_0[0].T
    distance = torch.cdist(moved, latents).min(dim=1)
    assert distance.values.max() < 1e-3
    assert len(set(distance.indices.tolist())) == 7, "each dead code takes another latent"
    assert int(quantizer.idle.max()) <= 1


@every_quantizer
def test_fewer_latents_than_dead_codes_revive_in_turns(kind):
    quantizer = build(kind, codebook_size=16, restart_after=1)
    quantizer(torch.randn(1, DIM, 4))
    start = quantizer.codes().detach().clone()
    quantizer(torch.randn(1, DIM, 4))
    moved = ((quantizer.codes().detach() - start).abs().sum(dim=1) > 1e-4).sum()
    assert 1 <= moved <= 4 + 4  # revived, and for moving averages those in use


@every_quantizer
def test_codes_dead_counts_codes_out_of_use(kind):
    quantizer = build(kind, codebook_size=4)
    z = quantizer.codes().detach()[:1].T[None]
    for _ in range(99):
        out = quantizer(z)
    assert float(out.stats["codes_dead"]) == 0
    assert float(quantizer(z).stats["codes_dead"]) == 0.75


def test_ema_update_by_hand():
    """Van den Oord et al. 2017, appendix A.1, eq. 6 to 8, with Laplace smoothing, in NumPy."""
    ema = next(kind for kind in QUANTIZERS if type_of(kind) == "ema")
    decay, epsilon, size = 0.9, 1e-3, 5
    quantizer = build(ema, codebook_size=size, decay=decay, epsilon=epsilon)
    counts = quantizer.counts.double().numpy()
    sums = quantizer.sums.double().numpy()
    codes = quantizer.codebook.double().numpy()
    for _ in range(3):
        z = torch.randn(2, DIM, 6)
        out = quantizer(z)
        flat = z.movedim(1, -1).reshape(-1, DIM).double().numpy()
        one_hot = np.eye(size)[((flat[:, None] - codes) ** 2).sum(-1).argmin(1)]
        np.testing.assert_array_equal(out.tokens[0].flatten().numpy(), one_hot.argmax(1))
        np.testing.assert_allclose(out.values.movedim(1, -1).reshape(-1, DIM), one_hot @ codes, atol=1e-6)
        counts = decay * counts + (1 - decay) * one_hot.sum(0)
        sums = decay * sums + (1 - decay) * one_hot.T @ flat
        total = counts.sum()
        smoothed = (counts + epsilon) / (total + size * epsilon) * total
        codes = sums / smoothed[:, None]
    np.testing.assert_allclose(quantizer.counts, counts, rtol=1e-5)
    np.testing.assert_allclose(quantizer.sums, sums, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(quantizer.codebook, codes, rtol=1e-4, atol=1e-6)


def test_restart_resets_the_averages_of_ema():
    """6 latents, 4 codes: a revived code starts as if 6 / 4 latents a step had been its own."""
    ema = next(kind for kind in QUANTIZERS if type_of(kind) == "ema")
    quantizer = build(ema, codebook_size=4, restart_after=2, decay=1 - 1e-6)
    z = quantizer.codebook[:1].T[None].repeat(1, 1, 6) + 0.001 * torch.randn(1, DIM, 6)
    for _ in range(3):
        quantizer(z)
    expected = torch.tensor([1.0, 1.5, 1.5, 1.5])
    torch.testing.assert_close(quantizer.counts, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(quantizer.sums, quantizer.codebook * expected[:, None], atol=1e-3, rtol=0)
    assert torch.cdist(quantizer.codebook[1:], z[0].T).min(dim=1).values.max() < 1e-3


def test_codebook_gradient_of_vq():
    """d(mean |sg z - q|^2) / dc_k = sum over latents of code k of 2 (c_k - z) / n."""
    vq = next(kind for kind in QUANTIZERS if type_of(kind) == "vq")
    quantizer = build(vq)
    z = torch.randn(1, DIM, 30)
    out = quantizer(z)
    sum(out.losses.values()).backward()
    expected = torch.zeros_like(quantizer.codebook)
    for latent, code in zip(z[0].T, out.tokens[0][0], strict=True):
        expected[code] += 2 * (quantizer.codebook[code] - latent) / z.numel()
    torch.testing.assert_close(quantizer.codebook.grad, expected.detach())


def test_restart_keeps_the_parameter_that_the_optimizer_holds():
    vq = next(kind for kind in QUANTIZERS if type_of(kind) == "vq")
    quantizer = build(vq, restart_after=1)
    held = quantizer.codebook
    quantizer(torch.randn(1, DIM, 30)).losses["codebook"].backward()
    assert quantizer.codebook is held
    assert held.grad is not None


def test_simvq_moves_codes_without_latents_of_their_own():
    """One step on latents of one code moves every code (arXiv 2411.02038, section 4)."""
    simvq = next(kind for kind in QUANTIZERS if type_of(kind) == "simvq")
    quantizer = build(simvq, codebook_size=64, dim=16)
    start = quantizer.codes().detach().clone()
    frozen = quantizer.frozen.clone()
    assert float(start.norm(dim=1).mean()) == pytest.approx(math.sqrt(1 - 1 / 32), rel=0.05)
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.1)
    sum(quantizer(start[:1].T[None] + 0.1).losses.values()).backward()
    optimizer.step()
    assert ((quantizer.codes() - start).norm(dim=1) > 0).all()
    assert torch.equal(quantizer.frozen, frozen)
