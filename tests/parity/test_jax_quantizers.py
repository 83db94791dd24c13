"""The jax engine's quantizers are the torch engine's, and the published ones that those are held against."""

import numpy as np
import pytest
import torch

pytest.importorskip("jax", reason="the extra jax is not installed")

import jax
from flax import nnx

from anycodec.config.quantizer import (
    EmaSpec,
    FsqSpec,
    GroupedSpec,
    OptVqSpec,
    ResidualSpec,
    SimVqSpec,
    VqSpec,
)
from anycodec.errors import ConfigError, Notice
from anycodec.jax.quantizers import make_quantizer as make_twin_of
from anycodec.jax.quantizers import search
from anycodec.jax.quantizers.beam import beam_search as twin_beam_search
from anycodec.torch.quantizers import make_quantizer
from anycodec.torch.quantizers.beam import beam_search
from parity.goldens import load_golden
from parity.jax_twins import (
    assert_equal_gradients,
    assert_equal_state,
    called,
    compiled,
    difference,
    gradients,
    load_twin,
    to_jax,
    windows,
)

BOOK = {"codebook_size": 12, "kmeans_init": False, "restart_after": 0}
DIM = 6
QUANTIZERS = {
    "vq, rotating, regular": VqSpec(
        **BOOK, gradient="rotation", entropy_weight=0.1, entropy_temperature=0.5, orthogonal_weight=0.2
    ),
    "simvq, cosine": SimVqSpec(**BOOK, distance="cosine"),
    "ema, narrow": EmaSpec(**BOOK, code_dim=3),
    "fsq, symmetric": FsqSpec(levels=(4, 3, 5), symmetric=True),
    "fsq, clipped, as wide as its latents": FsqSpec(levels=(2, 3, 4, 2, 3, 2), bound="clip"),
    "residual of narrow simvq": ResidualSpec(stages=2, quantizer=SimVqSpec(**BOOK, code_dim=4)),
    "residual of fsq": ResidualSpec(stages=3, quantizer=FsqSpec(levels=(5, 4, 3))),
}


def make_twin(spec, dim=DIM, seed=0):
    return make_twin_of(spec, dim, np.random.default_rng(seed))


class Offered(nnx.Module):
    """A quantizer and latents [B T D] as its parameters, so that one pass gives all gradients."""

    def __init__(self, quantizer, z):
        self.quantizer = quantizer
        self.z = nnx.Param(to_jax(z))


class TorchOffered(torch.nn.Module):
    """Latents are kept as [B T D] here too."""

    def __init__(self, quantizer, z):
        super().__init__()
        self.quantizer = quantizer
        self.z = torch.nn.Parameter(torch.from_numpy(z))


@pytest.mark.parametrize("name", QUANTIZERS)
def test_values_terms_gradients_and_state(name):
    torch.manual_seed(0)
    quantizer = make_quantizer(QUANTIZERS[name], DIM)
    twin = load_twin(make_twin(QUANTIZERS[name]), quantizer)
    z, pull = windows(2, 15, DIM), windows(2, 15, DIM, seed=1)
    module, twin_module = TorchOffered(quantizer, z), Offered(twin, z)
    out = quantizer.train()(module.z.movedim(2, 1))
    value = (out.values.movedim(1, 2) * torch.from_numpy(pull)).sum() + sum(out.losses.values())

    def twin_value(module):
        found = module.quantizer(module.z[...], train=True)
        return (found.values * pull).sum() + sum(found.losses.values())

    assert_equal_gradients(module, value, twin_module, twin_value)
    found = called(twin, lambda module: module(to_jax(z), train=True))
    assert difference(found.values, out.values.movedim(1, 2)) < 1e-5
    assert all(np.array_equal(grid, wanted) for grid, wanted in zip(found.tokens, out.tokens, strict=True))
    assert found.losses.keys() == out.losses.keys()
    for term, wanted in out.losses.items():
        assert float(found.losses[term]) == pytest.approx(float(wanted.detach()), rel=1e-5), term
    assert {name: float(value) for name, value in found.stats.items()} == pytest.approx(
        {name: float(value) for name, value in out.stats.items()}, rel=1e-5
    )
    assert_equal_state(twin, quantizer)
    assert difference(twin.lookup(found.tokens), quantizer.lookup(out.tokens).movedim(1, 2)) < 1e-5


def test_the_published_simvq():
    weights, io = load_golden("05_simvq_1d")
    size, dim = weights["embedding.weight"].shape
    spec = SimVqSpec(codebook_size=size, beta=0.25, kmeans_init=False)
    quantizer = make_quantizer(spec, dim)
    state = quantizer.state_dict() | {
        "frozen": weights["embedding.weight"],
        "linear.weight": weights["embedding_proj.weight"],
        "linear.bias": weights["embedding_proj.bias"],
    }
    quantizer.load_state_dict(state)
    twin = Offered(load_twin(make_twin(spec, dim), quantizer), io["in.z"].movedim(1, 2))
    pull = to_jax(io["in.R"].movedim(1, 2))

    def value(module):
        out = module.quantizer(module.z[...], train=False)
        return (out.values * pull).sum() + sum(out.losses.values())

    out = called(twin, lambda module: module.quantizer(module.z[...], train=False))
    assert difference(twin.quantizer.codes(), io["out.codebook"]) < 1e-5
    assert np.array_equal(out.tokens[0], io["out.indices"])
    assert difference(out.values, io["out.z_q"].movedim(1, 2)) < 1e-5
    assert float(sum(out.losses.values())) == pytest.approx(
        float(io["out.commit_loss.legacy_false"]), rel=1e-5
    )
    slopes, _ = gradients(twin, value)
    assert difference(slopes["z"], io["out.grad_z.legacy_false"].movedim(1, 2)) < 1e-5
    for leaf in ("weight", "bias"):
        expected = io[f"out.grad_proj_{leaf}.legacy_false"]
        assert difference(slopes[f"quantizer.linear.{leaf}"], expected) < 1e-5


def test_the_nearest_of_many_tiles(monkeypatch):
    """Against distances in float64; the last tile is not full, and equal codes give the first."""
    monkeypatch.setattr(search, "TILE", 100)
    monkeypatch.setattr(search, "NARROWEST", 3)
    z, codes = windows(7, 5), windows(100, 5, seed=1)
    codes[60:80] = codes[20:40]
    distances = np.square(z[:, None].astype(float) - codes).sum(axis=2)
    assert np.array_equal(search.nearest(to_jax(z), to_jax(codes)), distances.argmin(axis=1))


@pytest.mark.parametrize("width", [1, 3])
def test_beam(width):
    z, tables = windows(40, 4), [windows(9, 4, seed=1 + i) / 2**i for i in range(3)]
    expected = beam_search(torch.from_numpy(z), [torch.from_numpy(table) for table in tables], width)
    found = twin_beam_search(to_jax(z), [to_jax(table) for table in tables], width)
    assert np.array_equal(found, torch.stack(expected, dim=1))


def test_residual_encodes_with_its_beam():
    """In evaluation alone; the values are those of the codes of the beam."""
    spec = ResidualSpec(stages=3, beam=4, quantizer=EmaSpec(**BOOK))
    torch.manual_seed(1)
    quantizer = make_quantizer(spec, DIM).eval()
    twin = load_twin(make_twin(spec), quantizer)
    z = windows(2, 15, DIM)
    with torch.no_grad():
        expected = quantizer(torch.from_numpy(z).movedim(2, 1))
    found, trained = called(
        twin, lambda module: (module(to_jax(z), train=False), nnx.clone(module)(to_jax(z), train=True))
    )
    assert all(np.array_equal(a, b) for a, b in zip(found.tokens, expected.tokens, strict=True))
    assert difference(found.values, expected.values.movedim(1, 2)) < 1e-5
    errors = [np.square(np.asarray(out.values) - z).sum() for out in (found, trained)]
    assert errors[0] < errors[1]


def clusters(points, each=20, dim=2):
    centres = 10 * np.stack([np.arange(points), np.arange(points) % 2], axis=1)[:, :dim]
    return np.repeat(centres, each, axis=0).astype(np.float32) + windows(points * each, dim) / 100


@pytest.mark.parametrize("kind", [VqSpec, EmaSpec, SimVqSpec])
def test_kmeans_finds_clusters(kind):
    """Each code ends as the mean of the latents that are nearest to it."""
    z = clusters(4)
    spec = kind(codebook_size=4, kmeans_after=0, kmeans_iterations=30, restart_after=0)
    twin = make_twin(spec, 2)
    assert twin.latents_wanted == 4 * 64
    twin.start(to_jax(z))
    assert twin.latents_wanted == 0
    codes = np.asarray(twin.codes())
    index = np.square(z[:, None] - codes).sum(axis=2).argmin(axis=1)
    assert np.allclose(codes, [z[index == code].mean(axis=0) for code in range(4)], atol=1e-3)
    if kind is EmaSpec:
        assert np.allclose(twin.counts[...], np.bincount(index))


def test_latents_pass_until_the_start_and_dead_codes_restart():
    """Two steps unquantised, k-means in the third; then codes that no latent wants move to latents."""
    z = clusters(4).reshape(4, 20, 2)
    spec = VqSpec(codebook_size=4, kmeans_after=2, kmeans_iterations=30, restart_after=2)
    twin = make_twin(spec, 2)
    step = compiled(twin, lambda module: module(to_jax(z), train=True))
    errors = []
    for _ in range(3):
        out = step()
        errors.append(float(np.abs(np.asarray(out.values) - z).max()))
        assert (float(out.losses["commitment"]) == 0) == (errors[-1] == 0)
    assert errors[:2] == [0, 0]
    assert 0 < errors[2] < 0.1
    twin.codebook[...] = twin.codebook[...].at[1:].set(1000.0)
    for _ in range(3):
        step()
    away = np.abs(np.asarray(twin.codebook[...])[1:, None] - z.reshape(1, -1, 2)).max(axis=2)
    assert away.min(axis=1).max() < 1e-3  # each at a latent


def test_evaluation_changes_nothing():
    spec = EmaSpec(codebook_size=4, kmeans_after=0, restart_after=1)
    twin = make_twin(spec, 2)
    before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(twin)))
    called(twin, lambda module: module(to_jax(clusters(4)[None]), train=False))
    after = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(twin)))
    assert jax.tree.all(jax.tree.map(np.array_equal, before, after))


def test_too_few_latents_are_told():
    """The spare codes start near latents."""
    twin, z = make_twin(VqSpec(codebook_size=8, restart_after=0), 2), windows(3, 2)
    with pytest.warns(Notice, match="8 codes start from 3 latents"):
        twin.start(to_jax(z))
    assert np.abs(np.asarray(twin.codes())[:, None] - z).max(axis=2).min(axis=1).max() < 0.1


def test_dropout_restores_from_the_first_stages():
    """All batches, from 1 or 2 of 2 stages; tokens stay whole."""
    spec = ResidualSpec(stages=2, dropout=1.0, quantizer=VqSpec(**BOOK))
    twin = make_twin(spec)
    z = to_jax(windows(1, 9, DIM))
    step = compiled(twin, lambda module: module(z, train=True))
    seen = set()
    for _ in range(12):
        out = step()
        assert len(out.tokens) == 2
        kept = [n for n in (1, 2) if np.allclose(out.values, twin.lookup(out.tokens[:n]), atol=1e-6)]
        seen.update(kept)
        assert len(kept) == 1
    assert seen == {1, 2}


@pytest.mark.parametrize("spec", [GroupedSpec(), OptVqSpec(), ResidualSpec(quantizer=OptVqSpec())])
def test_a_kind_that_only_torch_has_is_refused(spec):
    with pytest.raises(ConfigError) as error:
        make_twin(spec)
    assert "the engine jax has no type" in str(error.value)
    assert "codec.quantizer" in str(error.value)
    assert "ema, fsq, none, residual, simvq, vq, or engine=torch" in str(error.value)
