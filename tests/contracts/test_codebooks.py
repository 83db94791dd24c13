"""What every quantizer with one table of codes keeps, on top of the contract of all quantizers."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from anycodec.torch.quantizers import make_quantizer
from contracts.specs import CODEBOOKS, quantizer_spec, type_of

DIM = 4

NEAREST_IN_TRAINING = [kind for kind in CODEBOOKS if type_of(kind) != "optvq"]  # which uses all codes alike

every_codebook = pytest.mark.parametrize("kind", CODEBOOKS, ids=type_of)


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


@every_codebook
@pytest.mark.parametrize("training", [True, False])
def test_gradient_passes_straight_through(kind, training):
    z = torch.randn(2, DIM, 7, requires_grad=True)
    upstream = torch.randn_like(z)
    build(kind).train(training)(z).values.backward(upstream)
    assert torch.equal(z.grad, upstream)


@every_codebook
def test_commitment_pulls_latents_to_their_codes(kind):
    """d(beta mean |z - sg q|^2) / dz = 2 beta (z - q) / n; no other term reaches the latents."""
    z = torch.randn(2, DIM, 7, requires_grad=True)
    out = build(kind, beta=0.25)(z)
    sum(out.losses.values()).backward()
    expected = 2 * 0.25 * (z - out.values) / z.numel()
    torch.testing.assert_close(z.grad, expected.detach())


@every_codebook
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


@every_codebook
def test_tokens_are_the_nearest_codes(kind):
    quantizer = build(kind, codebook_size=200).eval()
    z = torch.randn(4, DIM, 50)
    index = quantizer(z).tokens[0].flatten().numpy()
    flat = z.movedim(1, -1).reshape(-1, DIM).double().numpy()
    table = quantizer.codes().detach().double().numpy()
    distances = ((flat[:, None] - table[None]) ** 2).sum(-1)
    excess = distances[np.arange(len(flat)), index] - distances.min(axis=1)
    assert excess.max() < 1e-5


@every_codebook
def test_a_step_makes_no_table_of_latents_by_codes(kind):
    latents, codes = 8_000, 6_000
    quantizer = build(kind, codebook_size=codes, restart_after=1)
    z = torch.randn(1, DIM, latents, requires_grad=True)
    with LargestTensor() as largest:
        out = quantizer(z)
        (out.values.sum() + sum(out.losses.values())).backward()
    assert largest.elements <= 2**22 < latents * codes / 10


@every_codebook
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


@every_codebook
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


@every_codebook
def test_kmeans_start_fits_the_first_batch(kind):
    """Two tight heaps and two codes: the codes start at the heaps' means."""
    heaps = torch.tensor([[5.0] * DIM, [-5.0] * DIM])
    z = heaps.repeat_interleave(50, dim=0) + 0.01 * torch.randn(100, DIM)
    out = build(kind, codebook_size=2, kmeans_init=True)(z.T[None])
    torch.testing.assert_close(out.values[0].T, heaps.repeat_interleave(50, dim=0), atol=0.01, rtol=0)


@every_codebook
def test_more_codes_than_latents_starts_with_a_warning(kind):
    quantizer = build(kind, codebook_size=64, kmeans_init=True)
    z = torch.randn(1, DIM, 10)
    with pytest.warns(UserWarning, match="64 codes start from 10 latents"):
        out = quantizer(z)
    torch.testing.assert_close(out.values, z, atol=0.1, rtol=0)
    assert torch.isfinite(quantizer.codes()).all()


@pytest.mark.parametrize("kind", NEAREST_IN_TRAINING, ids=type_of)
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


@every_codebook
def test_fewer_latents_than_dead_codes_revive_in_turns(kind):
    quantizer = build(kind, codebook_size=16, restart_after=1)
    quantizer(torch.randn(1, DIM, 4))
    start = quantizer.codes().detach().clone()
    quantizer(torch.randn(1, DIM, 4))
    moved = ((quantizer.codes().detach() - start).abs().sum(dim=1) > 1e-4).sum()
    assert 1 <= moved <= 4 + 4  # revived, and for moving averages those in use


@every_codebook
def test_codes_dead_counts_codes_out_of_use(kind):
    quantizer = build(kind, codebook_size=4)
    z = quantizer.codes().detach()[:1].T[None]
    for _ in range(99):
        out = quantizer(z)
    assert float(out.stats["codes_dead"]) == 0
    assert float(quantizer(z).stats["codes_dead"]) == 0.75


def test_ema_update_by_hand():
    """Van den Oord et al. 2017, appendix A.1, eq. 6 to 8, with Laplace smoothing, in NumPy."""
    ema = next(kind for kind in CODEBOOKS if type_of(kind) == "ema")
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
    ema = next(kind for kind in CODEBOOKS if type_of(kind) == "ema")
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
    vq = next(kind for kind in CODEBOOKS if type_of(kind) == "vq")
    quantizer = build(vq)
    z = torch.randn(1, DIM, 30)
    out = quantizer(z)
    sum(out.losses.values()).backward()
    expected = torch.zeros_like(quantizer.codebook)
    for latent, code in zip(z[0].T, out.tokens[0][0], strict=True):
        expected[code] += 2 * (quantizer.codebook[code] - latent) / z.numel()
    torch.testing.assert_close(quantizer.codebook.grad, expected.detach())


def test_restart_keeps_the_parameter_that_the_optimizer_holds():
    vq = next(kind for kind in CODEBOOKS if type_of(kind) == "vq")
    quantizer = build(vq, restart_after=1)
    held = quantizer.codebook
    quantizer(torch.randn(1, DIM, 30)).losses["codebook"].backward()
    assert quantizer.codebook is held
    assert held.grad is not None


def test_simvq_moves_codes_without_latents_of_their_own():
    """One step on latents of one code moves every code (arXiv 2411.02038, section 4)."""
    simvq = next(kind for kind in CODEBOOKS if type_of(kind) == "simvq")
    quantizer = build(simvq, codebook_size=64, dim=16)
    start = quantizer.codes().detach().clone()
    frozen = quantizer.frozen.clone()
    assert float(start.norm(dim=1).mean()) == pytest.approx(math.sqrt(1 - 1 / 32), rel=0.05)
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.1)
    sum(quantizer(start[:1].T[None] + 0.1).losses.values()).backward()
    optimizer.step()
    assert ((quantizer.codes() - start).norm(dim=1) > 0).all()
    assert torch.equal(quantizer.frozen, frozen)
