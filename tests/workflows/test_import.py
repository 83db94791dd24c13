"""Published weights become runs, through the command line; what is no weights file is refused."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import anycodec
from anycodec.cli import app
from anycodec.engine import WeightSource
from anycodec.workflows.pipeline import Pipeline

GOLDEN = Path(__file__).parents[1] / "golden"
SHARED = Path(__file__).parents[3] / "shared" / "goldens"
"""Goldens of more than 1.5 MB, beside the developers' checkouts."""
TAMING = GOLDEN / "01_taming_vqmodel" / "weights.safetensors"
SOURCES = get_args(WeightSource)

TAMING_YAML = """\
model:
  target: taming.models.vqgan.VQModel
  params:
    embed_dim: 6
    n_embed: {codes}
    ddconfig: {{double_z: false, z_channels: 8, resolution: 32, in_channels: 3, out_ch: 3, ch: 32,
      ch_mult: [1, 2], num_res_blocks: 1, attn_resolutions: [16], dropout: 0.0}}
"""


@dataclass(frozen=True)
class Case:
    """A golden: where its tokens (finest level first) and its reconstruction are."""

    folder: str
    tokens: tuple[str, ...] = ("out.indices",)
    reconstruction: str = "out.recon"
    config: dict[str, object] = field(default_factory=dict)
    codec: str = "vqgan"
    data: str = "image"
    window: str = "data.window.size=[16,16]"


CASES = {
    "taming": Case("01_taming_vqmodel"),
    "totem": Case("02_totem_vqvae_cf4", codec="totem", data="table", window="data.window.samples=32"),
    "vqvae2": Case(
        "03_vqvae2_2level",
        tokens=("out.eval.indices_level0", "out.eval.indices_level1"),
        reconstruction="out.eval.recon",
        codec="vqvae2",
    ),
    "dalle": Case(
        "09_vqvaevideo_dalle", tokens=("out.eval.indices",), reconstruction="out.eval.recon", codec="dvae"
    ),
    "diffusers": Case("08_diffusers_vqmodel", config={"_class_name": "VQModel", "norm_num_groups": 8}),
    "lightningdit-vavae": Case(
        "07_vavae_autoencoder", tokens=(), reconstruction="out.recon_mode", codec="klvae"
    ),
    "dome272": Case("09_dome272_vqgan"),
}


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(result, *words):
    """An error that a user can mend, without a traceback."""
    assert result.exit_code == 2, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    for word in words:
        assert str(word) in result.output
    assert "Traceback" not in result.output


def golden(source):
    case = CASES[source]
    for folder in (GOLDEN / case.folder, SHARED / case.folder):
        if folder.is_dir():
            return case, folder
    pytest.skip(f"{SHARED / case.folder} is not here: it is too large for the project")


def equal_to_scale(actual, expected):
    assert np.abs(actual - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.fixture(scope="module", params=SOURCES)
def imported(request, tmp_path_factory):
    """(case, outputs of the golden, run)."""
    case, folder = golden(request.param)
    out = tmp_path_factory.mktemp("import")
    options = []
    if case.config:
        (out / "config.json").write_text(json.dumps(case.config))
        options = ["--config", out / "config.json"]
    result = run(
        "import", request.param, folder / "weights.safetensors", case.window, *options, "-o", out / "run"
    )
    assert result.exit_code == 0, result.output
    return case, load_file(folder / "io.safetensors"), out / "run"


def native_file(case, folder):
    rng = np.random.default_rng(0)
    if case.data == "image":
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / "a.png")
        return folder / "a.png"
    pd.DataFrame({"t": range(64), "x": rng.normal(size=64).cumsum()}).to_csv(folder / "a.csv", index=False)
    return folder / "a.csv"


def test_every_source_has_a_golden():
    assert set(CASES) == set(SOURCES)


def test_tokens_and_output_are_the_published_ones(imported):
    case, io, folder = imported
    codec = Pipeline.open(folder, "cpu").codec
    x = io["in.x"] if io["in.x"].ndim == 4 else io["in.x"][:, None]
    if case.tokens:
        tokens = codec.encode(x)
        found = sorted(tokens.grids, key=np.size, reverse=True)
        for grid, name in zip(found, case.tokens, strict=True):
            np.testing.assert_array_equal(grid, io[name])
        decoded = codec.decode(tokens)
    else:
        decoded = codec.reconstruct(x)
    equal_to_scale(decoded.reshape(io[case.reconstruction].shape), io[case.reconstruction])


def test_the_run_is_a_normal_one(imported):
    case, _, folder = imported
    codec = anycodec.load(folder, "cpu")
    assert codec.spec.codec.type == case.codec
    assert codec.spec.data.type == case.data
    inspected = run("inspect", folder)
    assert inspected.exit_code == 0, inspected.output
    assert case.codec in inspected.output
    assert "of whose use nothing is known" in inspected.output or not case.tokens
    assert json.loads((folder / "manifest.json").read_text())["imported"]["file"] == "weights.safetensors"


def test_files_pass_through(imported, tmp_path):
    case, _, folder = imported
    file = native_file(case, tmp_path)
    evaluated = run("evaluate", folder, file, "--device", "cpu")
    assert evaluated.exit_code == 0, evaluated.output
    packed = run("compress", folder, file, "-o", tmp_path / "packed", "--device", "cpu")
    if not case.tokens:
        refused(packed, "tokens")
        return
    assert packed.exit_code == 0, packed.output
    restored = run("decompress", tmp_path / "packed" / f"{file.name}.acz", "-o", tmp_path / "back")
    assert restored.exit_code == 0, restored.output
    assert (tmp_path / "back" / file.name).is_file()


# --- checkpoints --------------------------------------------------------------------------------


def state():
    return {name: torch.from_numpy(array) for name, array in load_file(TAMING).items()}


def weights_of(folder):
    return load_file(folder / "weights.safetensors")


@pytest.mark.parametrize("wrapped", [False, True], ids=["state", "lightning"])
@pytest.mark.parametrize("zipped", [False, True], ids=["legacy", "zip"])
def test_checkpoints_of_pytorch(tmp_path, wrapped, zipped):
    content = {"state_dict": state(), "epoch": 3, "hyper_parameters": {"lr": 1e-4}} if wrapped else state()
    torch.save(content, tmp_path / "last.ckpt", _use_new_zipfile_serialization=zipped)
    assert run("import", "taming", tmp_path / "last.ckpt", "-o", tmp_path / "run").exit_code == 0
    assert run("import", "taming", TAMING, "-o", tmp_path / "plain").exit_code == 0
    ours, plain = weights_of(tmp_path / "run"), weights_of(tmp_path / "plain")
    assert ours.keys() == plain.keys()
    assert all(np.array_equal(ours[name], plain[name]) for name in plain)


def test_half_precision_becomes_single(tmp_path):
    torch.save({name: tensor.bfloat16() for name, tensor in state().items()}, tmp_path / "half.pt")
    assert run("import", "taming", tmp_path / "half.pt", "-o", tmp_path / "run").exit_code == 0
    conv = weights_of(tmp_path / "run")["encoder.conv_in.weight"]
    assert conv.dtype == np.float32
    np.testing.assert_array_equal(conv, state()["encoder.conv_in.weight"].bfloat16().float().numpy())


def test_training_parts_are_left_out_and_named(tmp_path):
    torch.save(state() | {"loss.discriminator.main.0.weight": torch.zeros(3)}, tmp_path / "full.pt")
    result = run("import", "taming", tmp_path / "full.pt", "-o", tmp_path / "run")
    assert result.exit_code == 0
    assert "loss.*" in result.output


class Attack:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


class Foreign:
    """Stands for a class of the publisher's code."""


@pytest.mark.parametrize("zipped", [False, True], ids=["legacy", "zip"])
def test_a_pickle_that_runs_code_does_not(tmp_path, zipped):
    mark = tmp_path / "ran"
    file = tmp_path / "evil.ckpt"
    torch.save(
        {"state_dict": state(), "callbacks": Attack(mark)}, file, _use_new_zipfile_serialization=zipped
    )
    refused(run("import", "taming", file, "-o", tmp_path / "run"), "mkdir", "nothing was run", "evil.ckpt")
    assert not mark.exists()
    assert not (tmp_path / "run").exists()
    torch.load(file, weights_only=False)
    assert mark.exists(), "the attack itself would have worked"


@pytest.mark.parametrize("content", ["hyper-parameters", "model"])
def test_foreign_classes_are_named_with_the_way_out(tmp_path, content):
    found = Foreign() if content == "model" else {"state_dict": state(), "hyper_parameters": Foreign()}
    torch.save(found, tmp_path / "last.ckpt")
    result = run("import", "taming", tmp_path / "last.ckpt", "-o", tmp_path / "run")
    refused(result, "Foreign", "save the tensors alone", "state_dict")


def damaged_files(folder):
    torch.save(state(), folder / "whole.pt")
    whole = (folder / "whole.pt").read_bytes()
    (folder / "cut.pt").write_bytes(whole[:-200])
    (folder / "head.pt").write_bytes(whole[:100])
    torch.save(state(), folder / "legacy.pt", _use_new_zipfile_serialization=False)
    (folder / "legacy.pt").write_bytes((folder / "legacy.pt").read_bytes()[:-200])
    (folder / "cut.safetensors").write_bytes(TAMING.read_bytes()[:-200])
    (folder / "empty.pt").write_bytes(b"")
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "text.pt").write_text("weights")
    torch.save([torch.zeros(3)], folder / "list.pt")
    torch.save({}, folder / "nothing.pt")
    torch.save({"lr": 0.1}, folder / "numbers.pt")
    torch.save({"a": torch.zeros(1).expand(2**33)}, folder / "inflated.pt")
    with zipfile.ZipFile(folder / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(10**6))
    (folder / "whole.pt").unlink()


def test_damaged_and_foreign_files(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    damaged_files(files)
    assert len(list(files.iterdir())) == 12
    for file in files.iterdir():
        refused(run("import", "taming", file, "-o", tmp_path / "run"), file)
    refused(run("import", "taming", tmp_path / "absent.pt", "-o", tmp_path / "run"), "no such file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files"]


def test_unknown_missing_and_misshapen_tensors_are_listed(tmp_path):
    tensors = load_file(TAMING)
    tensors["encoder.extra.weight"] = np.zeros(3, np.float32)
    tensors["decoder.conv_in.bias"] = np.zeros(5, np.float32)
    del tensors["decoder.norm_out.bias"]
    save_file(tensors, tmp_path / "odd.safetensors")
    refused(
        run("import", "taming", tmp_path / "odd.safetensors", "-o", tmp_path / "run"),
        "1 missing: decoder.norm_out.bias",
        "1 unknown: encoder.extra.weight",
        "1 of another shape: decoder.conv_in.bias [5] instead of [64]",
    )


@pytest.mark.parametrize("named", SOURCES)
@pytest.mark.parametrize("true", SOURCES)
def test_another_source_than_the_weights(tmp_path, named, true):
    _, folder = golden(true)
    if named == true:
        return
    refused(
        run("import", named, folder / "weights.safetensors", "-o", tmp_path / "run"), "weights.safetensors"
    )
    assert not (tmp_path / "run").exists()


def test_the_published_configuration_is_checked_and_used(tmp_path):
    (tmp_path / "right.yaml").write_text(TAMING_YAML.format(codes=24))
    (tmp_path / "wrong.yaml").write_text(TAMING_YAML.format(codes=1024))
    (tmp_path / "broken.yaml").write_text("model: [")
    call = ("import", "taming", TAMING, "-o", tmp_path / "run", "--config")
    refused(run(*call, tmp_path / "wrong.yaml"), "n_embed is 1024 in the configuration, 24 in the weights")
    refused(run(*call, tmp_path / "broken.yaml"), "broken.yaml")
    refused(run(*call, tmp_path / "absent.yaml"), "absent.yaml")
    assert run(*call, tmp_path / "right.yaml").exit_code == 0
    assert anycodec.load(tmp_path / "run", "cpu").spec.data.window.size == (32, 32)


def test_a_run_is_replaced_only_by_force(tmp_path):
    target = tmp_path / "run"
    assert run("import", "taming", TAMING, "-o", target).exit_code == 0
    before = (target / "manifest.json").read_bytes()
    refused(run("import", "taming", TAMING, "-o", target), "already holds a run", "--force")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(TAMING.read_bytes()[:-200])
    refused(run("import", "taming", cut, "-o", target, "--force"), "damaged")
    refused(run("import", "taming", TAMING, "codec.res_blocks=2", "-o", target, "--force"), "belong")
    assert (target / "manifest.json").read_bytes() == before
    (target / "old.txt").touch()
    assert run("import", "taming", TAMING, "-o", target, "--force").exit_code == 0
    assert not (target / "old.txt").exists()
    other = tmp_path / "papers"
    other.mkdir()
    (other / "thesis.tex").touch()
    refused(run("import", "taming", TAMING, "-o", other, "--force"), "holds no run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.safetensors", "papers", "run"]


def test_training_does_not_write_over_imported_weights(tmp_path):
    target = tmp_path / "run"
    assert run("import", "taming", TAMING, "-o", target).exit_code == 0
    for options in ([], ["--resume"]):
        refused(run("train", target, f"data.root={tmp_path}", "-o", target, *options), "imported weights")


def test_kind_of_data_and_settings(tmp_path):
    options = ("--data", "video", "data.window.size=[32,16]")
    assert run("import", "taming", TAMING, *options, "-o", tmp_path / "run").exit_code == 0
    data = anycodec.load(tmp_path / "run", "cpu").spec.data
    assert (data.type, data.window.size, data.normalizer.type) == ("video", (32, 16), "fixed")
    call = ("import", "taming", TAMING, "-o", tmp_path / "other")
    refused(run(*call, "--data", "table"), "table", "image, video")
    refused(run(*call, "data.window.size=[31,31]"), "data.window", "30 or 32")
    refused(run(*call, "data.root=/nowhere/at/all"), "/nowhere/at/all")
    assert not (tmp_path / "other").exists()


# --- folders of diffusers, and export -----------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(run, folder of diffusers)."""
    out = tmp_path_factory.mktemp("export")
    assert run("import", "taming", TAMING, "data.window.size=[16,16]", "-o", out / "run").exit_code == 0
    result = run("export", "--to", "diffusers", out / "run", "-o", out / "model")
    assert result.exit_code == 0, result.output
    return out / "run", out / "model"


def windows():
    return load_file(TAMING.parent / "io.safetensors")["in.x"]


def test_the_layout_of_diffusers(exported):
    _, model = exported
    assert {path.name for path in model.iterdir()} == {"config.json", "diffusion_pytorch_model.safetensors"}
    config = json.loads((model / "config.json").read_text())
    assert config["_class_name"] == "VQModel"
    assert config["block_out_channels"] == [32, 64]
    assert config["down_block_types"] == ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]
    assert config["up_block_types"] == ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"]
    tensors = load_file(model / "diffusion_pytorch_model.safetensors")
    assert tensors["quantize.embedding.weight"].shape == (24, 6)
    assert tensors["encoder.mid_block.attentions.0.to_q.weight"].shape == (64, 64)


def test_the_way_back(exported, tmp_path):
    original, model = exported
    assert run("import", "diffusers", model, "-o", tmp_path / "run").exit_code == 0
    one, two = (Pipeline.open(folder, "cpu").codec for folder in (original, tmp_path / "run"))
    tokens = one.encode(windows())
    np.testing.assert_array_equal(two.encode(windows()).grids[0], tokens.grids[0])
    equal_to_scale(two.decode(tokens), one.decode(tokens))


def test_diffusers_itself_agrees(exported):
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    original, folder = exported
    model = diffusers.VQModel.from_pretrained(folder).eval()
    codec = Pipeline.open(original, "cpu").codec
    tokens = codec.encode(windows())
    with torch.no_grad():
        latents = model.encode(torch.from_numpy(windows())).latents
        pictures = model.decode(latents).sample.numpy()
        indices = model.quantize(latents)[2][2].reshape(tokens.grids[0].shape)
    np.testing.assert_array_equal(indices.numpy(), tokens.grids[0])
    equal_to_scale(codec.decode(tokens), pictures)


def test_folders_that_are_no_model(exported, tmp_path):
    _, model = exported
    refused(run("import", "diffusers", tmp_path, "-o", tmp_path / "run"), "no weights")
    refused(run("import", "taming", model, "-o", tmp_path / "run"), "folder")
    only_config = tmp_path / "only_config"
    only_config.mkdir()
    shutil.copy(model / "config.json", only_config)
    refused(run("import", "diffusers", only_config, "-o", tmp_path / "run"), "no weights", "safetensors")


def test_what_export_refuses(exported, tmp_path):
    original, model = exported
    refused(run("export", "--to", "diffusers", original, "-o", model), "not empty")
    refused(run("export", "--to", "diffusers", tmp_path, "-o", tmp_path / "out"), "not a run directory")
    weights = GOLDEN / "02_totem_vqvae_cf4" / "weights.safetensors"
    assert run("import", "totem", weights, "-o", tmp_path / "totem").exit_code == 0
    refused(run("export", "--to", "diffusers", tmp_path / "totem", "-o", tmp_path / "out"), "totem")
    assert not (tmp_path / "out").exists()
