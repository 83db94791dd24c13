"""Trainings that start from the weights of another run: an import with its discriminator."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from anycodec.checkpoint import RunDirectory
from anycodec.cli import app
from anycodec.config.run import RunSpec
from anycodec.data.loader import open_data
from anycodec.engine import get_engine
from anycodec.torch.discriminators import make_discriminator
from anycodec.torch.training.batches import TrainBatches
from anycodec.torch.weights import load_weights

GOLDEN = Path(__file__).parents[1] / "golden"
CODEC, RIVAL = GOLDEN / "01_taming_vqmodel", GOLDEN / "01_taming_discriminator"
QUICK = ("train.batch_size=2", "train.val_batches=1", "train.threads=1", "data.workers=0")
TRAINING = ("train.steps=3", "train.val_every=3", *QUICK)


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def checkpoint(rival: Path = RIVAL) -> dict[str, torch.Tensor]:
    """A state of taming's VQModel with its discriminator and a part of LPIPS."""
    beside = {f"loss.discriminator.{k}": v for k, v in load_file(rival / "weights.safetensors").items()}
    return load_file(CODEC / "weights.safetensors") | beside | {"loss.perceptual_loss.x": torch.zeros(2)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, and `run`: an imported codec with its discriminator."""
    folder = tmp_path_factory.mktemp("finetune")
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for i in range(20):
        noise = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "pictures" / f"{i}.png")
    torch.save({"state_dict": checkpoint()}, folder / "last.ckpt")
    (folder / "published.yaml").write_text(
        "model: {params: {lossconfig: {params: {disc_start: 250001, disc_weight: 0.8, disc_factor: 0.5}}}}"
    )
    window, size = f"data.root={folder / 'pictures'}", "data.window.size=[16,16]"
    words = ["--config", folder / "published.yaml", "-o", folder / "run"]
    done = run("import", "taming", folder / "last.ckpt", window, size, *words)
    assert done.exit_code == 0, done.output
    assert "with its discriminator, without the perceptual loss" in done.output
    return folder


def first_batch(spec: RunSpec) -> torch.Tensor:
    windows = open_data(spec).train
    return next(iter(TrainBatches(windows, spec.data, 2, 0)))


@pytest.mark.parametrize(
    ("rival", "norm"), [(RIVAL, "batch"), (GOLDEN / "01_taming_discriminator_actnorm", "actnorm")]
)
def test_the_discriminator_judges_as_the_published_one(tmp_path: Path, rival: Path, norm: str) -> None:
    torch.save(checkpoint(rival), tmp_path / "last.ckpt")
    done = run("import", "taming", tmp_path / "last.ckpt", "data.window.size=[16,16]", "-o", tmp_path / "run")
    assert done.exit_code == 0, done.output
    imported = RunDirectory(tmp_path / "run")
    adversarial = imported.spec().adversarial
    assert adversarial is not None
    assert (adversarial.discriminator.norm, adversarial.weight, adversarial.start) == (norm, 1.0, 0)
    discriminator = make_discriminator(adversarial.discriminator, 3, dims=2).eval()
    load_weights(discriminator, imported.discriminator)
    io = load_file(rival / "io.safetensors")
    expected = io["out.eval.logits_real"]
    with torch.no_grad():
        torch.testing.assert_close(discriminator(io["in.x"]).logits, expected, rtol=1e-4, atol=1e-5)


def test_settings_of_the_published_configuration_and_of_the_user(folder: Path, tmp_path: Path) -> None:
    adversarial = RunDirectory(folder / "run").spec().adversarial
    assert adversarial is not None
    assert (adversarial.objective, adversarial.weight) == ("hinge", 0.4)
    call = ("import", "taming", folder / "last.ckpt", "data.window.size=[16,16]", "-o", tmp_path / "run")
    other = run(*call, "adversarial.discriminator.layers=1")
    assert other.exit_code == 2
    assert "imported discriminator has another architecture" in other.output
    assert run(*call, "adversarial=null").exit_code == 0
    assert not RunDirectory(tmp_path / "run").discriminator.exists()


def test_fine_tuning_starts_from_both_networks(folder: Path) -> None:
    """The first step's figures are those of the imported networks; k-means does not move the codes."""
    source, tuned = RunDirectory(folder / "run"), RunDirectory(folder / "tuned")
    before = {path.name: path.read_bytes() for path in source.path.iterdir()}
    learn = ("codec.quantizer.kmeans_init=true", "codec.quantizer.beta=1", "train.log_every=1")
    init = ("--init", source.path, "-o", tuned.path)
    done = run("train", source.path, *TRAINING, *learn, *init)
    assert done.exit_code == 0, done.output
    assert "discriminator.safetensors" in done.output.replace("\n", "")
    spec = tuned.spec()
    x = first_batch(spec)
    codec = get_engine("torch").load(source.spec(), 3, source.weights, "cpu")
    y = torch.from_numpy(codec.reconstruct(x.numpy()))
    assert spec.adversarial is not None
    discriminator = make_discriminator(spec.adversarial.discriminator, 3, dims=2)
    load_weights(discriminator, source.discriminator)
    with torch.no_grad():
        fake, real = (float(discriminator(windows).logits.mean()) for windows in (y, x))
    with tuned.metrics.open(newline="") as file:
        first = next(csv.DictReader(file))
    assert float(first["train/mse"]) == pytest.approx(float((x - y).square().mean()), rel=1e-4)
    assert float(first["train/logits_real"]) == pytest.approx(real, rel=1e-3, abs=1e-5)
    assert float(first["train/logits_fake"]) == pytest.approx(fake, rel=1e-3, abs=1e-5)
    said = json.loads(tuned.manifest.read_text())["init_from"]
    assert said["fingerprint"] == source.fingerprint() != tuned.fingerprint()
    assert said["discriminator"] is True
    assert said["imported"]["source"] == "taming"
    assert {path.name: path.read_bytes() for path in source.path.iterdir()} == before


def test_a_resumed_run_needs_its_beginning_no_more(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(folder / "run", source)
    alone = (
        "adversarial.discriminator.layers=1",
        "train.steps=1",
        "train.batch_size=2",
        "train.val_batches=1",
    )
    assert run("train", source, *alone, "--init", source, "-o", tmp_path / "run").exit_code == 0
    said = json.loads((tmp_path / "run" / "manifest.json").read_text())["init_from"]
    assert said["discriminator"] is False, "it is of another architecture"
    shutil.rmtree(source)
    done = run("train", tmp_path / "run", "train.steps=2", "--resume", "-o", tmp_path / "run")
    assert done.exit_code == 0, done.output


def test_another_codec_is_refused_with_what_differs(folder: Path, tmp_path: Path) -> None:
    call = ("train", folder / "run", *TRAINING, "-o", tmp_path / "run", "--init")
    done = run(*call, folder / "run", "codec.res_blocks=2", "codec.quantizer.codebook_size=32")
    assert done.exit_code == 2
    assert "codec.quantizer.codebook_size is 32 here, 24 there" in " ".join(done.output.split())
    assert "codec.res_blocks is 2 here, 1 there" in " ".join(done.output.split())
    (tmp_path / "grey").mkdir()
    for i in range(20):
        Image.new("L", (16, 16), i).save(tmp_path / "grey" / f"{i}.png")
    grey = run(*call, folder / "run", "data.mode=grey", f"data.root={tmp_path / 'grey'}")
    assert "windows have 1 channels here, 3 there" in " ".join(grey.output.split())
    assert "not a run directory" in run(*call, tmp_path).output
    assert not (tmp_path / "run").exists()


def test_an_import_is_fine_tuned_elsewhere(folder: Path) -> None:
    done = run("train", folder / "run", *TRAINING, "-o", folder / "run", "--resume")
    assert done.exit_code == 2
    assert "--init" in done.output
