"""Perceptual terms in a training: what they need, what they log and what they leave out of the run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file
from typer.testing import CliRunner

from anycodec.cache import weights_path
from anycodec.checkpoint import RunDirectory, write_arrays
from anycodec.cli import app
from anycodec.torch.features.lpips import Lpips
from anycodec.workflows import samples

CONFIG = """\
name: tiny
data: {type: image, window: {size: [32, 32]}, workers: 0}
codec: {type: vqvae2, hidden_channels: 8, res_channels: 4, rates: [4], quantizer: {type: ema}}
losses:
  l1: {type: l1}
  edges: {type: gradient, weight: 0.5}
  texture: {type: spectral}
  lpips: {type: lpips, net: alex, weight: 0.1}
train: {steps: 2, batch_size: 2, val_every: 2, val_batches: 1, log_every: 1, threads: 1}
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("ANYCODEC_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    samples.run("images", tmp_path / "pictures", size="small")
    words = [
        "train",
        tmp_path / "tiny.yaml",
        f"data.root={tmp_path / 'pictures'}",
        "-q",
        "-o",
        tmp_path / "run",
    ]
    return [str(word) for word in words]


def random_weights(net: str) -> Path:
    """Put a network that was never trained into the cache."""
    path = weights_path(f"lpips-{net}")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    write_arrays(path, {name: value.numpy() for name, value in Lpips(net).state_dict().items()})
    return path


def test_without_weights_the_training_does_not_start(command: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert "`losses.lpips`: the weights lpips-alex are not on this machine" in done.stderr
    assert f"where: {tmp_path / 'tiny.yaml'}:8" in done.stderr
    assert "mend:  anycodec weights get lpips-alex" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_metric_without_weights_does_not_start_either(command: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*command, "losses={l1: {type: l1}}", "train.best.metric=val/lpips_vgg"])
    assert done.exit_code == 2
    assert "`train.best.metric`: the weights lpips-vgg are not on this machine" in done.stderr
    assert not (tmp_path / "run").exists()


def test_terms_are_logged_and_the_network_stays_out_of_the_run(command: list[str], tmp_path: Path) -> None:
    weights = random_weights("alex")
    before = weights.read_bytes()
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    run = RunDirectory(tmp_path / "run")
    with run.metrics.open(newline="") as file:
        first = next(csv.DictReader(file))
    for term in ("l1", "edges", "texture", "lpips"):
        assert float(first[f"train/{term}"]) > 0
    assert not [name for name in load_file(run.weights) if "trunk" in name or "heads" in name]
    assert sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file()) < len(before) / 4
    assert weights.read_bytes() == before
    weights.unlink()
    pictures = sorted((tmp_path / "pictures").rglob("*.png"))[:1]
    done = CliRunner().invoke(
        app, ["compress", str(run.path), str(pictures[0]), "-o", str(tmp_path / "packed")]
    )
    assert done.exit_code == 0, done.output


def test_validation_reports_what_pictures_look_like(command: list[str], tmp_path: Path) -> None:
    """LPIPS through the network of the loss and through the one that keeps weights; equal to the loss."""
    random_weights("alex"), random_weights("vgg")
    kept = ["train.steps=4", "train.keep_best=[val/lpips_vgg, val/ssim]", "train.tensorboard=true"]
    done = CliRunner().invoke(app, [*command, *kept, "losses={lpips: {type: lpips, net: alex, weight: 0.5}}"])
    assert done.exit_code == 0, done.output
    run = RunDirectory(tmp_path / "run")
    with run.metrics.open(newline="") as file:
        figures = [row for row in csv.DictReader(file) if row["val/loss"]]
    assert len(figures) == 2
    for row in figures:
        quantizer = float(row["val/loss"]) - 0.5 * float(row["val/lpips_alex"])
        assert 0 <= quantizer < float(row["val/loss"])
        assert -1 < float(row["val/ssim"]) < 1
    least = min(float(row["val/lpips_vgg"]) for row in figures)
    for metric in ("val/lpips_vgg", "val/ssim"):
        best = run.best(metric).read_manifest()["training"]["best"]
        assert best["metric"] == metric
    assert run.best("val/lpips_vgg").read_manifest()["training"]["best"]["value"] == pytest.approx(least)
    assert not [name for name in load_file(run.best("val/ssim").weights) if "trunk" in name]
