"""A published LightningDiT becomes a generator's run; with latents it draws samples."""

import json
from pathlib import Path

import pytest
import torch
from generation_runs import CLASSES, codec_run, write_pictures
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from anycodec.checkpoint import RunDirectory
from anycodec.cli import app
from anycodec.config.kinds import GENERATOR
from anycodec.data.latents import Latents
from anycodec.torch.generators import make_generator
from anycodec.torch.weights import load_weights
from anycodec.workflows import latents as latents_workflow

GOLDEN = Path(__file__).parents[1] / "golden" / "06_lightningdit_base"
WEIGHTS = GOLDEN / "weights.safetensors"
CONFIG = """
name: codec
data: {{type: image, mode: grey, root: {root}, workers: 0, window: {{size: [16, 16]}},
       split: {{type: time, ratios: [0.6, 0.2, 0.2]}}}}
codec: {{type: klvae, base_channels: 8, channel_multipliers: [1, 2], res_blocks: 1, norm_groups: 4,
        latent_channels: 4, attention_levels: []}}
train: {{steps: 1, threads: 1, device: cpu}}
"""


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(result, *words):
    """An error that a user can mend, without a traceback."""
    assert result.exit_code == 2, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    text = " ".join(result.output.split())
    for word in words:
        assert str(word) in text, text


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    out = tmp_path_factory.mktemp("imported") / "run"
    result = run("import", "lightningdit", WEIGHTS, "-o", out)
    assert result.exit_code == 0, result.output
    assert "dit by flow on latents of 4 x 8 x 8, 10 classes" in result.output
    return RunDirectory(out)


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    """Latents 4 x 8 x 8 of pictures of ten classes, with their codec."""
    folder = tmp_path_factory.mktemp("latents")
    write_pictures(folder / "data", tuple(f"ID_{i}" for i in range(10)), count=3)
    codec = codec_run(folder, CONFIG.format(root=folder / "data"))
    latents_workflow.run(codec, [], folder / "latents", "cpu")
    return folder / "latents"


def test_the_run_gives_the_published_velocities(imported):
    spec, io = imported.spec_of(GENERATOR), load_file(GOLDEN / "io.safetensors")
    generator = make_generator(spec.generator, (4, 8, 8), 10)
    load_weights(generator, imported.weights)
    with torch.no_grad():
        found = generator(io["in.x"], io["in.t"], io["in.y"])
    assert (found - io["out.v"]).abs().max() <= 1e-5 * io["out.v"].abs().max()


def test_the_manifest_says_what_is_missing(imported):
    manifest = imported.read_manifest()
    assert manifest["kind"] == "generator"
    assert manifest["codec"] is None
    assert manifest["latents"] is None
    assert manifest["imported"]["source"] == "lightningdit"
    assert "no codec and no latents belong to this generator yet" in manifest["imported"]["note"]
    assert "latents of 4 x 8 x 8" in manifest["imported"]["note"]


def test_sampling_without_latents_is_refused(imported, tmp_path):
    refused(run("sample", imported.path, "-o", tmp_path / "x"), "no latents belong to this generator yet")


def test_with_latents_it_draws_samples(latents, tmp_path):
    result = run("import", "lightningdit", WEIGHTS, f"latents={latents}", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    manifest = RunDirectory(tmp_path / "run").read_manifest()
    assert manifest["latents"]["fingerprint"] == Latents(latents).info.fingerprint
    result = run(
        "sample", tmp_path / "run", "--class", "ID_3", "--count", 2, "--steps", 2, "-o", tmp_path / "x"
    )
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "x" / "ID_3").glob("*.png"))) == 2


def test_latents_of_another_kind_are_refused(tmp_path):
    write_pictures(tmp_path / "data", CLASSES, count=3)
    codec = codec_run(tmp_path, CONFIG.format(root=tmp_path / "data"))
    latents_workflow.run(codec, [], tmp_path / "latents", "cpu")
    result = run("import", "lightningdit", WEIGHTS, f"latents={tmp_path / 'latents'}", "-o", tmp_path / "run")
    refused(result, "another number of classes, 3, than those of the generator, 10")
    assert not (tmp_path / "run").exists()


def test_averaged_weights_of_a_checkpoint_come_first(imported, tmp_path):
    published = load_file(WEIGHTS)
    trained = {f"module.{name}": tensor + 1 for name, tensor in published.items()}
    torch.save({"model": trained, "ema": published, "opt": {}, "config": {}}, tmp_path / "0400000.pt")
    result = run("import", "lightningdit", tmp_path / "0400000.pt", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert RunDirectory(tmp_path / "run").weights.read_bytes() == imported.weights.read_bytes()


def test_bad_weights(tmp_path):
    save_file({"encoder.conv_in.weight": torch.zeros(3, 3)}, tmp_path / "x.safetensors")
    for words in (("x.safetensors", "they lack"), ("absent.pt", "no such file"), (".", "a folder")):
        result = run("import", "lightningdit", tmp_path / words[0], "-o", tmp_path / "run")
        refused(result, *words[1:])
        assert not (tmp_path / "run").exists()


def test_settings_that_do_not_fit(tmp_path):
    import_ = ("import", "lightningdit", WEIGHTS, "-o", tmp_path / "run")
    refused(run(*import_, "generator.depth=3"), "the weights decide these settings")
    refused(run(*import_, "--data", "image"), "a generator is for latents")
    (tmp_path / "c.json").write_text(json.dumps({"model": {"use_rope": False}}))
    refused(run(*import_, "--config", tmp_path / "c.json"), "use_rope is False in the configuration")
