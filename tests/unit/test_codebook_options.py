"""Options of quantizers with a table of codes, against formulas worked out by hand."""

import copy
import math
import socket

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from anycodec.config.codec import SimVqganSpec
from anycodec.config.quantizer import EmaSpec, OptVqSpec, ResidualSpec, SimVqSpec, VqSpec
from anycodec.errors import ConfigError
from anycodec.torch.codecs import make_codec
from anycodec.torch.quantizers import make_quantizer
from anycodec.torch.quantizers.gradient import rotation
from anycodec.torch.quantizers.regularizers import entropy, orthogonality
from anycodec.torch.quantizers.sinkhorn import Transport
from anycodec.torch.training.module import parameter_groups

DIM = 6
KINDS = (VqSpec, EmaSpec, SimVqSpec, OptVqSpec)
LEARNED = (VqSpec, SimVqSpec, OptVqSpec)

every_kind = pytest.mark.parametrize("kind", KINDS)
every_learned = pytest.mark.parametrize("kind", LEARNED)


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def build(kind, dim=DIM, **settings):
    small = {"codebook_size": 16, "kmeans_init": False, "restart_after": 0}
    return make_quantizer(kind(**(small | settings)), dim)


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that an operation makes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


# --- every option on every kind -----------------------------------------------------------------------

OPTIONS = {
    "cosine": {"distance": "cosine"},
    "narrow": {"code_dim": 3},
    "narrow cosine": {"code_dim": 3, "distance": "cosine"},
    "rotation": {"gradient": "rotation"},
    "entropy": {"entropy_weight": 0.1},
}


@every_kind
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("training", [True, False])
def test_lookup_gives_the_values_of_forward(kind, option, training):
    quantizer = build(kind, **OPTIONS[option]).train(training)
    before = copy.deepcopy(quantizer)
    z = torch.randn(2, DIM, 3, 5, requires_grad=True)
    out = quantizer(z)
    assert out.values.shape == z.shape
    torch.testing.assert_close(before.lookup(out.tokens), out.values)
    (out.values.sum() + sum(out.losses.values())).backward()
    assert torch.isfinite(z.grad).all()
    assert z.grad.abs().sum() > 0


@every_kind
@pytest.mark.parametrize("option", ["cosine", "narrow", "narrow cosine"])
def test_kmeans_start_and_restart_work_in_the_space_of_codes(kind, option):
    """Two heaps in opposite directions: k-means finds both, and a dead code goes to a latent."""
    heap = torch.tensor([2.0, -1, 1, 0, 1, 1])
    z = torch.stack((heap, -heap)).repeat(20, 1) + 0.05 * torch.randn(40, DIM)
    quantizer = build(kind, codebook_size=2, kmeans_init=True, restart_after=2, **OPTIONS[option])
    quantizer.start(z)
    points = quantizer.space.enter(z).detach()
    spread = 0.3 * points.norm(dim=1).max()
    assert torch.cdist(points, quantizer.codes()).min(dim=1).values.max() < spread
    quantizer.place(torch.tensor([0]), 5 - quantizer.codes()[:1].detach(), torch.ones(1))
    quantizer.idle[0] = 2
    quantizer(z.T[None])
    assert torch.cdist(quantizer.codes()[:1], points).min() < spread
    assert int(quantizer.idle[0]) <= 1


@every_kind
@pytest.mark.parametrize("option", OPTIONS)
def test_a_shared_codebook_may_move_before_gradients_are_taken(kind, option):
    """Stages of one step use, average and restart the same codes."""
    book = kind(codebook_size=64, kmeans_init=False, restart_after=1, **OPTIONS[option])
    quantizer = make_quantizer(ResidualSpec(stages=3, shared=True, quantizer=book), DIM)
    for _ in range(3):
        z = torch.randn(2, DIM, 9, requires_grad=True)
        out = quantizer(z)
        (out.values.sum() + sum(out.losses.values())).backward()
        assert torch.isfinite(z.grad).all()


# --- cosine distance ----------------------------------------------------------------------------------


@every_kind
def test_cosine_takes_the_code_of_the_least_angle(kind):
    quantizer = build(kind, distance="cosine", codebook_size=200).eval()
    z = 10 ** torch.empty(300, 1).uniform_(-2, 2) * torch.randn(300, DIM)
    out = quantizer(z.T[None])
    table = quantizer.table().detach().double()
    cosines = F.normalize(z.double(), dim=1) @ F.normalize(table, dim=1).T
    chosen = cosines[torch.arange(300), out.tokens[0][0]]
    assert (cosines.max(dim=1).values - chosen).max() < 1e-6
    torch.testing.assert_close(out.values.norm(dim=1), torch.ones(1, 300))


def test_cosine_gradient_leaves_the_length_alone():
    """Straight-through reaches the direction of a latent: z . dz = 0, and dz shrinks with |z|."""
    z = torch.randn(1, DIM, 9)
    upstream = torch.randn(1, DIM, 9)
    gradients = []
    for scale in (1.0, 10.0):
        latents = (scale * z).requires_grad_()
        build(VqSpec, distance="cosine", beta=0)(latents).values.backward(upstream)
        gradients.append(latents.grad)
    torch.testing.assert_close((gradients[0] * z).sum(dim=1), torch.zeros(1, 9), atol=1e-5, rtol=0)
    torch.testing.assert_close(gradients[0], 10 * gradients[1])


def test_averages_of_directions():
    """EMA with cosine distance averages unit vectors; what is used is the average's direction."""
    quantizer = build(EmaSpec, codebook_size=2, distance="cosine", decay=0.5)
    codes = torch.eye(2, DIM)
    quantizer.place(torch.arange(2), codes, torch.ones(2))
    z = torch.tensor([[3.0, 0, 4, 0, 0, 0], [0, 2, 0, 0, 0, 0]])
    quantizer(z.T[None])
    torch.testing.assert_close(quantizer.sums[0, :3], torch.tensor([0.5 + 0.3, 0, 0.4]))
    torch.testing.assert_close(quantizer.codes()[0, :3], torch.tensor([0.8, 0, 0.4]) / math.sqrt(0.8))


# --- narrow codes -------------------------------------------------------------------------------------


@every_kind
def test_narrow_codes_start_as_an_orthogonal_projection(kind):
    quantizer = build(kind, code_dim=2, codebook_size=64)
    assert quantizer.codes().shape == (64, 2)
    basis = quantizer.space.narrow.weight
    torch.testing.assert_close(basis @ basis.T, torch.eye(2), atol=1e-5, rtol=0)
    z = torch.randn(50, DIM)
    back = quantizer.space.leave(quantizer.space.enter(z))
    torch.testing.assert_close(back, z @ basis.T @ basis)


def test_no_option_adds_parameters_by_default():
    assert [name for name, _ in build(VqSpec).named_parameters()] == ["codebook"]
    assert dict(build(EmaSpec).named_parameters()) == {}


# --- rotation trick -----------------------------------------------------------------------------------


def test_rotation_is_a_rotation_of_the_gradient():
    """R takes z/|z| to q/|q|, so that the gradient is (|q|/|z|) R^T g: its angle to q becomes one to z."""
    z = torch.randn(40, DIM, requires_grad=True)
    q, g = torch.randn(40, DIM), torch.randn(40, DIM)
    rotation(z, q).backward(g)
    scale = q.norm(dim=1) / z.norm(dim=1)
    torch.testing.assert_close(z.grad.norm(dim=1), scale * g.norm(dim=1))
    torch.testing.assert_close(F.cosine_similarity(z.grad, z), F.cosine_similarity(g, q), atol=1e-5, rtol=0)


def test_rotation_of_zero_and_opposite_latents_is_finite():
    z = torch.tensor([[0.0, 0, 0], [1.0, 2, 3]], requires_grad=True)
    q = torch.tensor([[1.0, 0, 0], [-1.0, -2, -3]])
    out = rotation(z, q)
    assert torch.equal(out, q)
    out.sum().backward()
    assert torch.isfinite(z.grad).all()


# --- regularisers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_entropy_by_hand(temperature):
    z, codes = torch.randn(30, 4), torch.randn(7, 4)
    logits = -((z.numpy()[:, None] - codes.numpy()) ** 2).sum(-1).astype(float) / temperature
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    own = -(p * np.log(p)).sum(1).mean()
    together = -(p.mean(0) * np.log(p.mean(0))).sum()
    assert entropy(z, codes, temperature).item() == pytest.approx(own - together, rel=1e-5)


def test_entropy_is_least_where_all_codes_are_used_alike():
    """K latents, each on its own far code: 0 - log K; all on one: 0."""
    codes = 100 * torch.eye(5)
    assert entropy(codes, codes, 1.0).item() == pytest.approx(-math.log(5), rel=1e-5)
    assert entropy(codes[:1].repeat(5, 1), codes, 1.0).item() == pytest.approx(0, abs=1e-6)


def test_entropy_has_its_gradient_without_a_table():
    z, codes = torch.randn(6, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a, b: entropy(a, b, 2.0), (z.requires_grad_(), codes.requires_grad_())
    )
    z, codes = torch.randn(5000, 4, requires_grad=True), torch.randn(4000, 4, requires_grad=True)
    with LargestTensor() as largest:
        entropy(z, codes, 1.0).backward()
    assert largest.elements <= 2**22


def test_orthogonality_by_hand():
    assert orthogonality(3 * torch.eye(4)).item() == pytest.approx(0, abs=1e-6)
    codes = torch.randn(9, 4)
    unit = codes.numpy() / np.linalg.norm(codes.numpy(), axis=1, keepdims=True)
    others = (unit @ unit.T) ** 2
    expected = (others.sum() - np.trace(others)) / 81
    assert orthogonality(codes).item() == pytest.approx(expected, rel=1e-4)
    with LargestTensor() as largest:
        orthogonality(torch.randn(50_000, 8))
    assert largest.elements == 50_000 * 8


@every_learned
def test_weights_of_regularisers(kind):
    z = torch.randn(1, DIM, 30)
    weighted = build(kind, orthogonal_weight=0.5, entropy_weight=0.25, entropy_temperature=3.0)
    out = weighted(z)
    expected = 0.25 * entropy(z[0].T, weighted.codes(), 3.0)
    torch.testing.assert_close(out.losses["entropy"], expected)
    torch.testing.assert_close(out.losses["orthogonality"], 0.5 * orthogonality(weighted.codes()))
    assert not {"entropy", "orthogonality"} & set(build(kind)(z).losses)


# --- learning rate of the codebook --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (VqSpec, {"codebook"}),
        (SimVqSpec, {"linear.weight", "linear.bias"}),
        (OptVqSpec, {"codebook", "linear.weight", "linear.bias"}),
    ],
)
def test_codebook_lr_is_for_the_codes_alone(kind, names):
    """Not for the projection around them, and not for the rest of the codec."""
    spec = SimVqganSpec(base_channels=8, channels=(8,), strides=(2,), latent_channels=6)
    quantizer = kind(codebook_size=16, codebook_lr=4.0, code_dim=3)
    codec = make_codec(spec.model_copy(update={"quantizer": quantizer}), in_channels=1)
    usual, faster = parameter_groups(codec, lr=1e-3)
    assert (usual["lr"], faster["lr"]) == (1e-3, 4e-3)
    found = {id(p) for p in faster["params"]}
    own = dict(codec.quantizer.named_parameters())
    assert {name for name, p in own.items() if id(p) in found} == names
    assert len(usual["params"]) + len(faster["params"]) == len(list(codec.parameters()))


def test_one_group_without_codebook_lr():
    codec = make_codec(SimVqganSpec(quantizer=VqSpec(codebook_size=16)), in_channels=1)
    (group,) = parameter_groups(codec, lr=1e-3)
    assert group["params"] == list(codec.parameters())


# --- Sinkhorn -----------------------------------------------------------------------------------------


def test_training_shares_a_batch_out_to_all_codes():
    """Latents in one corner, far from most codes: by distance few are used, by transport all alike."""
    quantizer = build(OptVqSpec, codebook_size=16, iterations=100, projection=False)
    z = quantizer.codes().detach()[:1].T[None] + 0.3 * torch.randn(1, DIM, 1600)
    counts = torch.bincount(quantizer.train()(z).tokens[0].flatten(), minlength=16)
    nearest = torch.bincount(quantizer.eval()(z).tokens[0].flatten(), minlength=16)
    assert nearest.max() > 800
    assert counts.min() > 0.4 * 100
    assert counts.max() < 2.5 * 100


@pytest.mark.parametrize("unit", ["all", "dim", "none"])
def test_a_plan_has_equal_shares(unit):
    plan = Transport(torch.randn(300, 4), torch.randn(8, 4), 2.0, 200, unit).plan()
    torch.testing.assert_close(plan.sum(dim=1), torch.ones(300))
    torch.testing.assert_close(plan.sum(dim=0), torch.full((8,), 300 / 8), rtol=1e-3, atol=0)


def test_tiles_do_not_change_the_plan(monkeypatch):
    z, codes = torch.randn(300, 4), torch.randn(8, 4)
    whole = Transport(z, codes, 10.0, 5, "all").plan()
    monkeypatch.setattr("anycodec.torch.quantizers.tiles.TILE", 100)
    monkeypatch.setattr("anycodec.torch.quantizers.sinkhorn.TILE", 100)
    torch.testing.assert_close(Transport(z, codes, 10.0, 5, "all").plan(), whole, rtol=1e-4, atol=1e-5)


def test_heads_are_levels_of_one_codebook():
    quantizer = build(OptVqSpec, heads=3).eval()
    assert quantizer.codebook_sizes == (16, 16, 16)
    assert quantizer.codes().shape == (16, 2)
    z = torch.randn(2, DIM, 3, 5)
    out = quantizer(z)
    assert [tokens.shape for tokens in out.tokens] == [(2, 3, 5)] * 3
    codes = quantizer.codes().detach()
    for head, tokens in enumerate(out.tokens):
        part = z[:, 2 * head : 2 * head + 2]
        assert torch.equal(torch.cdist(part.movedim(1, -1), codes).argmin(dim=-1), tokens)
        assert torch.equal(codes[tokens].movedim(-1, 1), out.values[:, 2 * head : 2 * head + 2])
    assert torch.equal(quantizer.lookup(out.tokens), out.values)


def test_heads_that_do_not_divide_are_named():
    with pytest.raises(ConfigError, match="4 heads do not divide the 6 channels"):
        build(OptVqSpec, heads=4)


def test_cross_entropy_makes_no_table_of_latents_by_codes():
    quantizer = build(OptVqSpec, codebook_size=4000, loss="ce")
    z = torch.randn(1, DIM, 5000, requires_grad=True)
    with LargestTensor() as largest:
        quantizer(z).losses["cross_entropy"].backward()
    assert largest.elements <= 2**22


# --- data-parallel ------------------------------------------------------------------------------------


def half_or_all(rank, batch):
    return batch if rank is None else batch[rank : rank + 1]


def train(rank):
    """Weights after 5 steps with every option, of the joined batch or by averaged gradients of halves."""
    found = {}
    for kind in KINDS:
        for option, settings in OPTIONS.items():
            torch.manual_seed(0)
            quantizer = build(kind, restart_after=3, **settings)
            encoder = nn.Linear(DIM, DIM)
            module = nn.ModuleList([encoder, quantizer])
            optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
            for _ in range(5):
                x = half_or_all(rank, torch.randn(2, 20, DIM))
                out = quantizer(encoder(x).mT)
                loss = (out.values.mT - x).square().mean() + sum(out.losses.values())
                optimizer.zero_grad()
                loss.backward()
                for parameter in module.parameters() if rank is not None else ():
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= 2
                optimizer.step()
            found[f"{kind.__name__} {option}"] = module.state_dict()
    return found


def work(rank, port, folder):
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.save(train(rank), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_learn_what_one_does(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, str(tmp_path)), nprocs=2)
    alone = train(None)
    for rank in range(2):
        together = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for case, state in alone.items():
            for name, value in state.items():
                torch.testing.assert_close(
                    together[case][name], value, atol=1e-4, rtol=1e-3, msg=f"{case}: {name}"
                )
