"""The network that reads bases: its published shape, folding, chunks, normalisation, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bonito_files import SMALL, published, save
from typer.testing import CliRunner

from anycodec.cache import weights_path
from anycodec.checkpoint import write_arrays
from anycodec.cli import app
from anycodec.errors import WeightsError
from anycodec.torch.basecallers.bonito import convert_bonito
from anycodec.torch.basecallers.caller import load_basecaller, longest_moving, normalised, stitched
from anycodec.torch.basecallers.quartznet import BONITO_R941, QuartzNet


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANYCODEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def folded(path: Path) -> QuartzNet:
    network = QuartzNet(SMALL).eval()
    state = convert_bonito([path], SMALL)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return network


# --- the network --------------------------------------------------------------------------------------


def test_it_has_as_many_parameters_as_were_published():
    with torch.device("meta"):
        unfolded = sum(p.numel() for p in published(BONITO_R941).parameters())
        network = QuartzNet(BONITO_R941)
    assert unfolded == 6_678_533
    norms = sum(spec.filters * (spec.repeat + spec.residual) for spec in BONITO_R941)
    # BatchNorm has a gain and a shift a channel, of which the shift is left
    assert sum(p.numel() for p in network.parameters()) == 6_678_533 - norms


def test_a_frame_stands_for_three_samples_and_sees_2053_to_either_side():
    with torch.device("meta"):
        network = QuartzNet(BONITO_R941)
        frames = network(torch.zeros(1, 1, 3001, device="meta"))
    assert network.stride == 3
    # half kernels 16, then 3 x (5 x (16 + 19 + 25 + 31 + 37) + 43)
    assert network.margin == 2067 >= 16 + 3 * (5 * (16 + 19 + 25 + 31 + 37) + 43)
    assert frames.shape == (1, 1001, 5)


def test_folded_gives_what_batch_norm_gives(tmp_path):
    network = published()
    ours = folded(save(tmp_path / "weights.tar", network))
    current = torch.randn(2, 1, 301)
    with torch.inference_mode():
        torch.testing.assert_close(ours(current), network(current), rtol=1e-4, atol=1e-5)
        assert torch.allclose(ours(current).exp().sum(2), torch.ones(2, 101), atol=1e-5)


@pytest.mark.parametrize("samples", [1, 2, 3, 100, 301, 302, 303, 1000])
@pytest.mark.parametrize("chunk", [3, 50, 300])
def test_chunks_give_what_the_whole_read_gives(tmp_path, samples, chunk):
    network = folded(save(tmp_path / "weights.tar", published()))
    read = torch.randn(samples)
    with torch.inference_mode():
        whole = network(read[None, None])[0]
    torch.testing.assert_close(stitched(network, read, chunk), whole, rtol=1e-4, atol=1e-5)


# --- normalisation ------------------------------------------------------------------------------------


def test_median_and_mad_of_what_moves():
    rng = np.random.default_rng(0)
    stall = np.full(3000, 200, np.float32) + rng.normal(0, 0.1, 3000)
    strand = 90 + 12 * rng.standard_normal(8000)
    current = np.concatenate([stall, strand, stall]).astype(np.float32)
    assert longest_moving(current) == slice(3000, 11000)
    found = normalised(current)[3000:11000]
    assert abs(np.median(found)) < 1e-6
    assert found.std() == pytest.approx(1, abs=0.03)  # 1.4826 MAD is the deviation of a normal distribution


@pytest.mark.parametrize("current", [np.zeros(5), np.full(1000, 7.0), np.arange(50.0)])
def test_reads_without_statistics(current):
    found = normalised(current.astype(np.float32))
    assert found.shape == current.shape
    assert np.isfinite(found).all()


# --- weights ------------------------------------------------------------------------------------------


def test_published_weights_become_a_caller(tmp_path, cache):
    checkpoint = save(tmp_path / "weights_1.tar", published(BONITO_R941))
    done = CliRunner().invoke(app, ["weights", "get", "bonito-r941", "--from", str(checkpoint)])
    assert done.exit_code == 0, done.output
    assert "licence: Oxford Nanopore Technologies Public License 1.0: for research" in done.stdout
    call = load_basecaller("bonito-r941", torch.device("cpu"))
    probabilities = call(np.random.default_rng(0).normal(90, 12, 1000).astype(np.float32))
    assert probabilities.shape == (334, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert call(np.empty(0, np.float32)).shape == (0, 5)


def test_weights_of_something_else_are_refused(tmp_path):
    other = save(tmp_path / "other.tar", published())
    with pytest.raises(WeightsError, match=r"not the weights of bonito-r941: .* is missing"):
        convert_bonito([other])
    with pytest.raises(WeightsError, match="one file"):
        convert_bonito([other, other])
    wider = (*SMALL[:-1], SMALL[0].__class__(24, 1, 1, separable=False))
    with pytest.raises(WeightsError, match=r"is \[16, 12, 1, 1\], expected \[24, 12, 1, 1\]"):
        convert_bonito([other], wider)


def test_missing_and_damaged_weights_are_named(cache):
    with pytest.raises(WeightsError, match="bonito-r941 are not on this machine") as missing:
        load_basecaller("bonito-r941", torch.device("cpu"))
    assert "anycodec weights get bonito-r941" in missing.value.how
    path = weights_path("bonito-r941")
    path.parent.mkdir(parents=True)
    write_arrays(path, {"a": np.zeros(3, np.float32)})
    with pytest.raises(WeightsError, match="damaged weights"):
        load_basecaller("bonito-r941", torch.device("cpu"))
