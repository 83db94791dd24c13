"""Generators from latents to native files, in miniature."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from generation_runs import CLASSES, VQ, codec_run, picture_codec
from PIL import Image
from safetensors.numpy import load_file, save_file
from token_runs import CONFIG as ARRAYS
from token_runs import VQ as VQ_1D
from token_runs import write_arrays

from anycodec.checkpoint import RunDirectory
from anycodec.data.latents import Latents
from anycodec.engine import Sampling
from anycodec.errors import ConfigError, Notice, RunError, UserError
from anycodec.torch.training import generation
from anycodec.workflows import latents as encode
from anycodec.workflows import sample, training

CONFIG = """
latents: {latents}
generator: {{type: dit, width: 16, depth: 1, heads: 1}}
process: {{type: flow}}
train: {{steps: 6, batch_size: 4, val_every: 3, val_batches: 1, checkpoint_every: 2, log_every: 1,
        ema: 0.9, threads: 1, device: cpu}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures, a KL codec, its latents and a configuration."""
    folder = tmp_path_factory.mktemp("generation")
    run = picture_codec(folder)
    encode.run(run, [], folder / "latents", "cpu")
    (folder / "dit.yaml").write_text(CONFIG.format(latents=folder / "latents"))
    training.run(folder / "dit.yaml", [], folder / "gen", False, True)
    return folder


def figures(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(run):
    return load_file(run / "weights.safetensors")


def test_a_training_leaves_a_whole_run(folder):
    run = RunDirectory(folder / "gen")
    manifest = run.read_manifest()
    assert manifest["kind"] == "generator"
    assert manifest["training"]["steps"] == 6
    assert manifest["codec"]["fingerprint"] == RunDirectory(folder / "codec").fingerprint()
    assert tuple(manifest["latents"]["classes"]) == CLASSES
    latents = json.loads((folder / "latents" / "manifest.json").read_text())
    assert manifest["latents"]["fingerprint"] == latents["fingerprint"]
    rows = figures(folder / "gen")
    assert [row["step"] for row in rows if row["val/loss"]] == ["3", "6"]
    assert [row["step"] for row in rows if row["train/loss"]] == list("123456")
    first = rows[0]
    total = float(first["train/velocity"]) + float(first["train/direction"])
    assert float(first["train/loss"]) == pytest.approx(total, rel=1e-4)
    assert "step      6  val/loss" in (folder / "gen" / "train.log").read_text()


class Killed(BaseException):
    """What stands for SIGKILL: nothing of ours catches it."""


def test_a_killed_training_goes_on_to_the_same_weights(folder, tmp_path, monkeypatch):
    config, out = folder / "dit.yaml", tmp_path / "run"
    settings = ["train.steps=13", "train.checkpoint_every=4", "train.val_every=5", "train.clip=0.5"]
    save, saved = generation.save_state, []

    def dying(run, state):
        saved.append(state["step"])
        if len(saved) == 3:
            raise Killed
        save(run, state)

    monkeypatch.setattr(generation, "save_state", dying)
    with pytest.raises(Killed):
        training.run(config, settings, out, False, True)
    assert saved == [4, 8, 12]
    monkeypatch.setattr(generation, "save_state", save)
    training.run(config, settings, out, True, True)
    training.run(config, settings, tmp_path / "whole", False, True)
    interrupted, whole = weights(out), weights(tmp_path / "whole")
    assert interrupted.keys() == whole.keys()
    for name, value in whole.items():
        assert np.array_equal(interrupted[name], value), name
    columns = ("step", "train/loss", "val/loss")
    assert [[row[c] for c in columns] for row in figures(out)] == [
        [row[c] for c in columns] for row in figures(tmp_path / "whole")
    ]


def test_the_kept_weights_are_averaged(folder, tmp_path):
    training.run(folder / "dit.yaml", ["train.ema=null"], tmp_path / "plain", False, True)
    plain, averaged = weights(tmp_path / "plain"), weights(folder / "gen")
    assert any(not np.array_equal(plain[name], averaged[name]) for name in plain)


def test_accumulated_batches_and_bf16_train(folder, tmp_path):
    settings = ["train.accumulate=2", "train.batch_size=2", "train.precision=bf16", "train.keep=best"]
    training.run(folder / "dit.yaml", settings, tmp_path / "run", False, True)
    best = RunDirectory(tmp_path / "run").read_manifest()["training"]["best"]["val/loss"]
    assert best["step"] in (3, 6)


def test_other_latents_and_settings_are_refused_on_resume(folder, tmp_path):
    with pytest.raises(RunError, match="already holds a run"):
        training.run(folder / "dit.yaml", [], folder / "gen", False, True)
    with pytest.raises(RunError, match=r"generator\.width was 16, now 32"):
        training.run(folder / "dit.yaml", ["generator.width=32"], folder / "gen", True, True)
    other = picture_codec(tmp_path, VQ)
    encode.run(other, [], tmp_path / "latents", "cpu")
    with pytest.raises(RunError, match="started on other latents"):
        training.run(folder / "dit.yaml", [f"latents={tmp_path}/latents"], folder / "gen", True, True)


def test_latents_that_are_no_numbers_are_named(folder, tmp_path):
    broken = tmp_path / "latents"
    broken.mkdir()
    for path in (folder / "latents").iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    shard = broken / "shard-00000.safetensors"
    arrays = load_file(shard)
    arrays["latents"][:] = np.nan
    save_file(arrays, shard)
    with pytest.raises(RunError, match="not finite: loss, velocity, direction"):
        training.run(folder / "dit.yaml", [f"latents={broken}"], tmp_path / "run", False, True)


def test_a_generator_that_does_not_fit_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"generator\.patch_size.*8, 12"):
        training.run(folder / "dit.yaml", ["generator.patch_size=5"], tmp_path / "run", False, True)
    assert not (tmp_path / "run").exists()


def sampled(folder, out, *settings, **more):
    how = Sampling(**{"steps": 3, "batch": 64, **dict(settings)})
    sample.run(folder / "gen", out=out, how=how, device="cpu", **more)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_samples_are_native_files_in_folders_of_their_class(folder, tmp_path):
    files = sampled(folder, tmp_path / "out", count=2)
    expected = {f"{name}/{name}-0000{number}.png" for name in CLASSES for number in range(2)}
    assert set(files) == {*expected, "samples.json"}
    picture = Image.open(tmp_path / "out" / "ID_10" / "ID_10-00001.png")
    assert (picture.size, picture.mode) == ((24, 16), "L")
    about = json.loads(files["samples.json"])
    assert {entry["file"]: entry["class"] for entry in about["files"]}["ID_2/ID_2-00000.png"] == "ID_2"
    assert Image.open(tmp_path / "out.contact-sheet.png").width == 1000


def test_the_same_seed_gives_the_same_files_whatever_the_batch(folder, tmp_path):
    one = sampled(folder, tmp_path / "a", ("batch", 1), classes=("2", "ID_1"), count=5, seed=7)
    many = sampled(folder, tmp_path / "b", ("batch", 4), classes=("2", "ID_1"), count=5, seed=7)
    assert len(one) == 11
    assert one == many
    other = sampled(folder, tmp_path / "c", classes=("2",), count=5, seed=8)
    assert other["ID_2/ID_2-00000.png"] != one["ID_2/ID_2-00000.png"]
    alone = sampled(folder, tmp_path / "d", classes=("2",), count=1, seed=7)
    assert alone["ID_2/ID_2-00000.png"] == one["ID_2/ID_2-00000.png"]


def test_samples_without_a_class_and_with_guidance(folder, tmp_path):
    files = sampled(
        folder, tmp_path / "out", ("sampler", "heun"), ("guidance", 3.0), classes=("none", "1"), count=1
    )
    assert {"sample-00000.png", "ID_1/ID_1-00000.png"} < set(files)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ("ID_3",)}, "there is no class 'ID_3'; did you mean `ID_"),
        ({"classes": ("7",)}, "there is no class '7'"),
        ({"how": Sampling(sampler="ddim")}, "the sampler ddim cannot run the process flow"),
        ({"codec": Path("nowhere")}, "the codec of this generator is not there"),
    ],
)
def test_what_samples_cannot_be(folder, tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        sample.run(folder / "gen", out=tmp_path / "out", device="cpu", **settings)
    assert not (tmp_path / "out").exists()


def test_a_codec_generates_nothing_by_itself(folder, tmp_path):
    with pytest.raises(RunError, match=r"noise drawn from there decodes to noise") as caught:
        sample.run(folder / "codec", out=tmp_path / "out")
    assert "anycodec latents" in (caught.value.how or "")


def test_a_codec_that_is_not_the_generators_is_refused(folder, tmp_path):
    other = picture_codec(tmp_path, VQ)
    with pytest.raises(RunError, match="don't belong together"):
        sample.run(folder / "gen", out=tmp_path / "out", codec=other)


def test_without_labels_generation_is_unconditional(tmp_path):
    run = picture_codec(tmp_path, classes=())
    encode.run(run, [], tmp_path / "latents", "cpu")
    (tmp_path / "dit.yaml").write_text(CONFIG.format(latents=tmp_path / "latents"))
    training.run(tmp_path / "dit.yaml", ["train.steps=1"], tmp_path / "gen", False, True)
    files = sampled(tmp_path, tmp_path / "out", count=3)
    assert {"sample-00000.png", "sample-00001.png", "sample-00002.png"} < set(files)
    with pytest.raises(UserError, match="knows no classes"):
        sample.run(tmp_path / "gen", out=tmp_path / "other", classes=("1",))


def test_a_codec_that_was_trained_on_since_is_refused(folder, tmp_path):
    run = picture_codec(tmp_path)
    encode.run(run, [], tmp_path / "latents", "cpu")
    weights = load_file(run / "weights.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, run / "weights.safetensors")
    with pytest.raises(RunError, match="changed since it made these latents"):
        training.run(folder / "dit.yaml", [f"latents={tmp_path}/latents"], tmp_path / "gen", False, True)


def test_a_class_of_one_picture_is_trained_with_a_warning(tmp_path):
    run = picture_codec(tmp_path)
    for number in range(1, 5):
        (tmp_path / "data" / "ID_2" / f"{number}.png").unlink()
    with pytest.warns(Notice, match=r"1 classes have fewer than two training windows \(ID_2\)"):
        encode.run(run, [], tmp_path / "latents", "cpu")
    (tmp_path / "dit.yaml").write_text(CONFIG.format(latents=tmp_path / "latents"))
    training.run(tmp_path / "dit.yaml", ["train.steps=1"], tmp_path / "gen", False, True)
    assert "ID_2/ID_2-00000.png" in sampled(tmp_path, tmp_path / "out", classes=("2",), count=1)


def test_a_unet_by_diffusion_on_latents_of_codes(tmp_path):
    run = picture_codec(tmp_path, VQ)
    encode.run(run, [], tmp_path / "latents", "cpu")
    (tmp_path / "unet.yaml").write_text(CONFIG.format(latents=tmp_path / "latents"))
    unet = (
        "{type: unet, channels: [8, 8], res_blocks: 1, attention_levels: [], head_width: 4, norm_groups: 4}"
    )
    settings = [f"generator={unet}", "process={type: diffusion}", "train.steps=1"]
    training.run(tmp_path / "unet.yaml", settings, tmp_path / "gen", False, True)
    files = sampled(tmp_path, tmp_path / "out", ("sampler", "ddim"), classes=("1",), count=2)
    assert {"ID_1/ID_1-00000.png", "ID_1/ID_1-00001.png"} < set(files)


def test_tokens_are_generated_where_there_is_a_codebook(tmp_path):
    run = picture_codec(tmp_path, VQ)
    encode.run(run, [], tmp_path / "latents", "cpu")
    (tmp_path / "tokens.yaml").write_text(CONFIG.format(latents=tmp_path / "latents"))
    settings = ["generator={type: tokens, width: 16, depth: 1, heads: 1}", "process=null", "train.steps=2"]
    training.run(tmp_path / "tokens.yaml", settings, tmp_path / "gen", False, True)
    one = sampled(tmp_path, tmp_path / "a", ("batch", 1), ("guidance", 2.0), classes=("10",), count=3)
    assert one == sampled(tmp_path, tmp_path / "b", ("guidance", 2.0), classes=("10",), count=3)
    with pytest.raises(UserError, match="has no sampler"):
        sample.run(tmp_path / "gen", out=tmp_path / "c", how=Sampling(sampler="euler"))


def test_tokens_need_a_codebook(folder, tmp_path):
    settings = ["generator={type: tokens, width: 16, depth: 1, heads: 1}", "process=null"]
    with pytest.raises(ConfigError, match="works on tokens, and the codec of these latents"):
        training.run(folder / "dit.yaml", settings, tmp_path / "gen", False, True)


def test_series_become_series(tmp_path):
    write_arrays(tmp_path / "data", count=4)
    config = ARRAYS.format(root=tmp_path / "data", quantizer=VQ_1D).replace("median_mad", "revin")
    run = codec_run(tmp_path, config)
    encode.run(run, [], tmp_path / "latents", "cpu")
    latents = Latents(tmp_path / "latents")
    assert (latents.info.shape, latents.info.classes) == ((8, 8), ("part0", "part1"))
    (tmp_path / "dit.yaml").write_text(CONFIG.format(latents=tmp_path / "latents"))
    training.run(tmp_path / "dit.yaml", ["train.steps=1"], tmp_path / "gen", False, True)
    sampled(tmp_path, tmp_path / "out", classes=("0",), count=3, seed=1)
    made = np.stack([np.load(tmp_path / "out" / "part0" / f"part0-0000{n}.npy") for n in range(3)])
    assert (made.shape, made.dtype) == ((3, 32, 1), np.dtype(np.float32))
    rows = latents.rows("train")
    scales = latents.affine(rows[latents.labels[rows] == 0]).scale
    assert made.std(axis=1).max() < 10 * scales.max()  # in the unit of the walks
    assert len(np.unique(made)) > 10
