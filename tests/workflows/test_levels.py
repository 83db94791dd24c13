"""The jobs around quantizers with several levels of tokens, and around those with none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import anycodec
from anycodec.checkpoint import RunDirectory
from anycodec.errors import ConfigError, UserError
from anycodec.metrics.evaluation import Evaluation
from anycodec.workflows import compress, config, decompress, evaluate, inspect
from anycodec.workflows.train import run as train

CONFIG = """\
data: {type: array, workers: 0, layout: tc, window: {samples: 64}, normalizer: {type: revin}}
codec:
  type: simvqgan
  base_channels: 8
  stem_stride: 2
  channels: [8]
  strides: [2]
  res_blocks: 1
  latent_channels: 8
  norm_groups: 4
  patch_skip: true
  quantizer: QUANTIZER
train: {steps: 40, batch_size: 8, val_every: 20, val_batches: 2, threads: 1, optimizer: {lr: 1e-3}}
"""
LEVELS = {
    "residual": ("{type: residual, stages: 3, quantizer: {type: ema, codebook_size: 16}}", (16,) * 3),
    "grouped": ("{type: grouped, groups: 2, quantizer: {type: fsq, levels: [3, 4]}}", (12,) * 2),
    "lfq": ("{type: lfq, codebook_size: 64}", (64,)),
}


def waves(folder: Path) -> Path:
    folder.mkdir()
    time = np.arange(4000)
    rng = np.random.default_rng(0)
    values = np.sin(time / 7)[:, None] + 0.5 * np.sin(time[:, None] / [19, 31])
    path = folder / "waves.npy"
    np.save(path, (values + 0.05 * rng.normal(size=values.shape)).astype(np.float32))
    return path


def trained(folder: Path, quantizer: str, *overrides: str) -> tuple[Path, Path]:
    """A run on waves, and the file that holds them."""
    file = waves(folder / "data")
    settings = folder / "config.yaml"
    settings.write_text(CONFIG.replace("QUANTIZER", quantizer))
    run = folder / "run"
    train(settings, [f"data.root={file.parent}", *overrides], run, resume=False, quiet=True)
    return run, file


def logged(run: Path) -> dict[str, list[float]]:
    """Columns of metrics.csv without gaps."""
    with RunDirectory(run).metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows if row[name]] for name in rows[0]}


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("residual"), LEVELS["residual"][0])


@pytest.fixture(scope="module", params=["kl", "none"])
def continuous(request, tmp_path_factory):
    """A quantizer without tokens, its run and the file."""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, *trained(folder, f"{{type: {request.param}}}")


@pytest.mark.parametrize("kind", LEVELS)
def test_levels_of_tokens_survive_files(kind, tmp_path, request):
    quantizer, sizes = LEVELS[kind]
    stored = request.getfixturevalue("residual") if kind == "residual" else trained(tmp_path, quantizer)
    run, file = stored
    codec = anycodec.load(run)
    assert codec.codebook_sizes == sizes
    assert RunDirectory(run).read_manifest()["codebook_sizes"] == list(sizes)
    expected = codec.decode(codec.encode(np.load(file)))
    assert compress.run(run, [file], tmp_path / "coded", "cpu") == 0
    assert decompress.run([tmp_path / "coded" / "waves.npy.acz"], tmp_path / "restored", run, "cpu") == 0
    np.testing.assert_allclose(np.load(tmp_path / "restored" / "waves.npy"), expected, atol=1e-5)


def test_figures_of_each_level_are_logged(residual):
    run, _ = residual
    figures = logged(run)
    for figure in ("train/perplexity", "val/perplexity", "val/codes_used"):
        levels = [figures[f"{figure}_{level}"] for level in range(3)]
        assert figures[figure] == pytest.approx(np.mean(levels, axis=0), rel=1e-3)
    assert min(figures["val/codes_used_0"]) > 0.5, "the first stage started on the latents"
    assert min(figures["val/codes_used_2"]) > 0.5, "the last stage started on what the others left"


def test_continuous_latents_are_trained_and_evaluated(continuous, capsys):
    _, run, _ = continuous
    figures = logged(run)
    assert not [name for name in figures if "codes_used" in name or "perplexity" in name]
    assert figures["val/snr"][-1] > 10, "nothing is lost to quantisation"
    evaluate.run(run, [], "cpu")
    found = Evaluation.from_json((run / "evaluation.json").read_text())
    assert found.codec.rate is None
    assert found.baseline is None
    assert found.codec.original["snr"] > 10
    assert "continuous latents" in found.codec.description
    assert "no tokens" in RunDirectory(run).report.read_text()
    assert json.loads((run / "manifest.json").read_text())["codebook_sizes"] == []
    inspect.run(run)
    assert "none: latents are continuous" in capsys.readouterr().out


def test_continuous_latents_are_not_stored(continuous, tmp_path):
    quantizer, run, file = continuous
    with pytest.raises(UserError, match=f"continuous latents and no tokens.*{quantizer}"):
        compress.run(run, [file], tmp_path / "coded", "cpu")
    assert not (tmp_path / "coded").exists()
    with pytest.raises(UserError, match="continuous latents and no tokens"):
        anycodec.load(run).encode(np.load(file))


@pytest.mark.parametrize(
    ("quantizer", "override", "mistake"),
    [
        ("{type: none}", "train.best.metric=val/perplexity", "no metric 'val/perplexity'"),
        ("{type: grouped, groups: 3}", "train.steps=2", "3 groups do not divide the 8 channels"),
    ],
)
def test_a_mistake_that_only_the_engine_sees_leaves_no_run(quantizer, override, mistake, tmp_path):
    with pytest.raises(ConfigError, match=mistake):
        trained(tmp_path, quantizer, override)
    settings = tmp_path / "config.yaml"
    settings.write_text(CONFIG.replace("QUANTIZER", "{type: none}"))
    mended = [f"data.root={tmp_path / 'data'}", "train.steps=2"]
    assert train(settings, mended, tmp_path / "run", resume=False, quiet=True) == 0


def test_check_says_what_a_window_becomes(tmp_path, capsys):
    settings = tmp_path / "config.yaml"
    waves(tmp_path / "data")
    for quantizer, expected in (
        # 64 / 4 latents of 3 log2(16) bits over 64 samples
        (LEVELS["residual"][0], "48 tokens of 16 + 16 + 16 codes, nominally 3 bits/sample"),
        ("{type: kl}", "16 continuous latents"),
    ):
        settings.write_text(CONFIG.replace("QUANTIZER", quantizer))
        config.check(settings, [f"data.root={tmp_path / 'data'}"])
        assert expected in capsys.readouterr().out
