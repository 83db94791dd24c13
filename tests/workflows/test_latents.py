"""Latents on disk: what they hold, that they can be interrupted, that damage is named."""

import json

import numpy as np
import pytest
from generation_runs import CLASSES, KL, VQ, picture_codec
from PIL import Image
from safetensors.numpy import load_file, save_file

from anycodec.checkpoint import RunDirectory
from anycodec.data.latents import Latents
from anycodec.errors import DataError, UserError
from anycodec.workflows import latents as workflow
from anycodec.workflows.pipeline import Pipeline


@pytest.fixture(scope="module")
def kl(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kl")
    run = picture_codec(folder)
    workflow.run(run, [], folder / "latents", "cpu", shard_values=700)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_are_the_windows_of_the_split_with_their_classes(kl):
    latents = Latents(kl / "latents")
    info = latents.info
    assert info.classes == CLASSES  # by number: 2 before 10
    assert info.shape == (3, 8, 12)
    assert (info.window, info.in_channels, info.codebook_sizes) == ((16, 24), 1, ())
    assert info.counts == {"train": 9, "val": 3, "test": 3}
    assert info.class_counts == dict.fromkeys(CLASSES, 3)
    assert len(info.shards) == 8  # two windows of 288 values in 700
    places = latents.source(latents.rows("train"))
    names = [CLASSES[label] for label in latents.labels[latents.rows("train")]]
    assert [place["file"].split("/")[0] for place in places] == names
    assert {place["file"] for place in places} == {f"{name}/{i}.png" for name in CLASSES for i in range(3)}


def test_values_are_those_of_the_codec_and_decode_to_the_picture(kl):
    latents, pipeline = Latents(kl / "latents"), Pipeline.open(kl / "codec", "cpu")
    row = latents.rows("val")[1]
    place = latents.source([row])[0]
    pixels = np.asarray(Image.open(kl / "data" / place["file"]), np.float32)
    window = (pixels[None, None] - 127.5) / 127.5
    expected = pipeline.codec.latents(window)
    np.testing.assert_allclose(latents.values([row]), expected, atol=1e-5)
    decoded = pipeline.codec.decode_latents(latents.values([row]))
    np.testing.assert_allclose(decoded, pipeline.codec.reconstruct(window), atol=1e-4)
    affine = latents.affine([row])
    assert (affine.shift.tolist(), affine.scale.tolist()) == ([[127.5]], [[127.5]])


def test_statistics_are_of_the_training_split_and_in_the_codecs_manifest(kl):
    latents = Latents(kl / "latents")
    values = latents.values(latents.rows("train")).astype(np.float64)
    np.testing.assert_allclose(latents.info.mean, values.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(latents.info.std, values.std(axis=(0, 2, 3)))
    stored = RunDirectory(kl / "codec").read_manifest()["latent_statistics"]
    assert stored["latents"] == latents.info.fingerprint
    assert stored["mean"] == list(latents.info.mean)


def test_a_killed_job_goes_on_to_the_same_bytes(kl, tmp_path, monkeypatch):
    out, write, written = tmp_path / "out", workflow.write_arrays, []

    def dying(path, *rest):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, *rest)

    monkeypatch.setattr(workflow, "write_arrays", dying)
    with pytest.raises(KeyboardInterrupt):
        workflow.run(kl / "codec", [], out, "cpu", shard_values=700)
    assert not (out / "manifest.json").exists()
    with pytest.raises(DataError, match="no finished latents"):
        Latents(out)
    monkeypatch.setattr(workflow, "write_arrays", lambda path, *rest: (written.append(path.name),
                                                                       write(path, *rest)))  # fmt: skip
    workflow.run(kl / "codec", [], out, "cpu", shard_values=700)
    assert contents(out) == contents(kl / "latents")
    assert written == [f"shard-{number:05d}.safetensors" for number in range(8)]  # each was written once


def test_tokens_come_along_where_there_are_any(tmp_path):
    run = picture_codec(tmp_path, VQ)
    workflow.run(run, [], tmp_path / "latents", "cpu")
    latents, pipeline = Latents(tmp_path / "latents"), Pipeline.open(run, "cpu")
    rows = latents.rows("test")
    tokens = latents.tokens(rows)
    assert (tokens.codebook_sizes, tokens.grids[0].shape) == ((16,), (3, 8, 12))
    np.testing.assert_allclose(
        pipeline.codec.decode(tokens), pipeline.codec.decode_latents(latents.values(rows)), atol=1e-4
    )
    noise = np.random.default_rng(0).normal(0, 1e-4, latents.values(rows).shape).astype(np.float32)
    moved = pipeline.codec.decode_latents(latents.values(rows) + noise)  # onto the codes, to the same windows
    np.testing.assert_allclose(moved, pipeline.codec.decode(tokens), atol=1e-4)
    assert load_file(tmp_path / "latents" / "shard-00000.safetensors")["tokens.0"].dtype == np.uint16


def test_pictures_without_folders_have_no_class(tmp_path):
    run = picture_codec(tmp_path, KL, classes=())
    workflow.run(run, [tmp_path / "data"], tmp_path / "latents", "cpu")
    latents = Latents(tmp_path / "latents")
    assert latents.info.classes == ()
    assert set(latents.labels.tolist()) == {-1}


def test_a_folder_of_another_codec_is_refused(kl, tmp_path):
    other = picture_codec(tmp_path, VQ)
    with pytest.raises(UserError, match="another codec, data or split"):
        workflow.run(other, [], kl / "latents", "cpu")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds a\.txt"):
        workflow.run(other, [], tmp_path / "notes", "cpu")


def test_hostile_folders_are_refused(kl, tmp_path):
    def copy(name):
        folder = tmp_path / name
        folder.mkdir()
        for file, content in contents(kl / "latents").items():
            (folder / file).write_bytes(content)
        return folder

    def change(folder, **entries):
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    cases = {
        "version": {"version": 2},
        "path": {"shards": [{"name": "../../etc/passwd", "rows": 1, "sha256": ""}]},
        "statistics": {"std": [1.0, 0.0, 1.0]},
        "shape": {"shape": [3, 8, 13]},
    }
    for name, entries in cases.items():
        folder = copy(name)
        change(folder, **entries)
        with pytest.raises(DataError):
            Latents(folder)
    folder = copy("truncated")
    shard = folder / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged latents"):
        Latents(folder)
    folder = copy("labels")
    arrays = load_file(folder / "shard-00000.safetensors")
    save_file({**arrays, "labels": arrays["labels"] + 9}, folder / "shard-00000.safetensors")
    with pytest.raises(DataError, match="labels that are no classes"):
        Latents(folder)
