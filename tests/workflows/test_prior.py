"""A learned prior from a codec's data to smaller files, and to new ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from anycodec.bitstream.container import AczReader, Bound
from anycodec.bitstream.entropy import codes_by_prior
from anycodec.checkpoint import RunDirectory, read_arrays, write_arrays
from anycodec.cli import app
from anycodec.config.kinds import PRIOR
from anycodec.config.loader import load_any
from anycodec.engine import Sampling
from anycodec.errors import ConfigError, FormatError, RunError, UserError
from anycodec.workflows import compress, decompress, inspect, sample, training
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.priors import open_prior
from anycodec.workflows.train import run as train_codec

CODEC = """\
data: {type: array, workers: 0, layout: tc, channels: independent, window: {samples: 32},
       normalizer: {type: median_mad}}
codec: {type: simvqgan, base_channels: 8, stem_stride: 2, channels: [8], strides: [2], res_blocks: 0,
        mid_blocks: 0, latent_channels: 8, patch_skip: true,
        quantizer: {type: residual, stages: 2, quantizer: {type: ema, codebook_size: 16}}}
train: {steps: 150, batch_size: 16, val_every: 75, val_batches: 2, threads: 1, optimizer: {lr: 3e-3}}
"""
PRIOR_CONFIG = """\
codec: {codec}
prior: {{width: 24, embedding: 6, before: 6, coarser: 1}}
train: {{steps: 200, batch_size: 256, val_every: 100, checkpoint_every: 50, device: cpu, threads: 1}}
"""


def waves(seed: int, length: int = 4000) -> np.ndarray:
    """Two channels that a token says little about the next one without, and much with, its neighbours."""
    time, rng = np.arange(length)[:, None], np.random.default_rng(seed)
    return (np.sin(time / [7, 9]) + 0.5 * np.sin(time / 31) + 0.02 * rng.normal(size=(length, 2))).astype(
        "f4"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A codec, a prior of its tokens, and a file that neither has seen."""
    folder = tmp_path_factory.mktemp("prior")
    (folder / "data").mkdir()
    np.save(folder / "data" / "waves.npy", waves(0))
    np.save(folder / "unseen.npy", waves(1))
    (folder / "codec.yaml").write_text(CODEC)
    train_codec(folder / "codec.yaml", [f"data.root={folder / 'data'}"], folder / "codec", False, True)
    (folder / "prior.yaml").write_text(PRIOR_CONFIG.format(codec=folder / "codec"))
    training.run(folder / "prior.yaml", [], folder / "prior", False, True)
    return folder


def packed(folder: Path, out: Path, **more) -> Path:
    assert compress.run(folder / "codec", [folder / "unseen.npy"], out, "cpu", **more) == 0
    return out / "unseen.npy.acz"


def restored(file: Path, out: Path, folder: Path, **more) -> np.ndarray:
    assert decompress.run([file], out, folder / "codec", "cpu", **more) == 0
    return np.load(out / "unseen.npy")


def test_files_are_smaller_and_restore_the_same(folder, tmp_path):
    plain, small = packed(folder, tmp_path / "a"), packed(folder, tmp_path / "b", prior=folder / "prior")
    with AczReader(plain) as reader:
        assert (reader.header.requires, reader.header.prior) == ([], None)
        before = reader.totals.token_bytes
    with AczReader(small) as reader:
        assert reader.header.requires == ["prior"]
        assert reader.header.prior["fingerprint"] == open_prior(folder / "prior").fingerprint
        assert all(codes_by_prior(stream) for _, one in reader.records() for stream in one.streams)
        assert reader.totals.token_bytes < 0.95 * before
    values = restored(plain, tmp_path / "plain", folder)
    np.testing.assert_array_equal(restored(small, tmp_path / "small", folder), values)


def test_bounds_and_priors_go_together(folder, tmp_path):
    small = packed(folder, tmp_path, prior=folder / "prior", bound=Bound(max_error=0.5))
    with AczReader(small) as reader:
        assert reader.header.requires == ["restoration", "prior"]
    assert np.abs(restored(small, tmp_path / "out", folder) - waves(1)).max() <= 0.5


def test_never_larger_than_without_but_for_the_header(folder, tmp_path):
    """A prior that learned nothing is not used; the header names it all the same."""
    wrong = tmp_path / "untrained"
    training.run(folder / "prior.yaml", ["train.steps=1", "train.optimizer.lr=10"], wrong, False, True)
    plain, small = packed(folder, tmp_path / "a"), packed(folder, tmp_path / "b", prior=wrong)
    with AczReader(plain) as one, AczReader(small) as other:
        assert other.totals.token_bytes <= one.totals.token_bytes
    assert small.stat().st_size < plain.stat().st_size + 400


def test_inspect_says_it(folder, tmp_path, capsys):
    small = packed(folder, tmp_path, prior=folder / "prior")
    capsys.readouterr()
    inspect.run(small)
    text = " ".join(capsys.readouterr().out.split())
    assert open_prior(folder / "prior").fingerprint in text
    assert "by the prior 2 of 2 token streams" in text
    inspect.run(folder / "prior")
    text = " ".join(capsys.readouterr().out.split())
    assert "level 0 16 codes, given 6 neighbours level 1 16 codes, given 6 neighbours" in text
    assert "val/bits" in text


def test_the_prior_is_found_beside_the_codec_or_under_runs(folder, tmp_path, monkeypatch):
    small = packed(folder, tmp_path, prior=folder / "prior")
    values = restored(small, tmp_path / "beside", folder)
    monkeypatch.chdir(tmp_path)
    moved = tmp_path / "runs" / "moved"
    shutil.copytree(folder / "prior", moved)
    alone = tmp_path / "elsewhere" / "codec"
    shutil.copytree(folder / "codec", alone)
    monkeypatch.setattr("anycodec.workflows.priors.Path.resolve", lambda self, **_: self.absolute())
    np.testing.assert_array_equal(restored(small, tmp_path / "runs_", alone.parent), values)


@pytest.fixture(scope="module")
def other(folder) -> Path:
    """Another prior of the same codec."""
    training.run(folder / "prior.yaml", ["seed=1", "train.steps=20"], folder / "other", False, True)
    return folder / "other"


def test_a_wrong_or_missing_prior_is_named(folder, other, tmp_path):
    small = packed(folder, tmp_path, prior=folder / "prior")
    fingerprint = open_prior(folder / "prior").fingerprint[:12]
    with pytest.raises(RunError, match=f"wrong prior: .* another one .{fingerprint}"):
        restored(small, tmp_path / "out", folder, prior=other)
    assert not (tmp_path / "out" / "unseen.npy").exists()
    alone = tmp_path / "alone"
    shutil.copytree(folder / "codec", alone / "codec")
    hidden = folder.with_name("hidden")
    (folder / "prior").rename(hidden)
    try:
        with pytest.raises(RunError, match=r"the prior that coded .* is not at"):
            decompress.run([small], tmp_path / "out", alone / "codec", "cpu")
    finally:
        hidden.rename(folder / "prior")
    pipeline = Pipeline.open(folder / "codec", "cpu")
    with (
        AczReader(small) as reader,
        pytest.raises(FormatError, match=f"needs the learned prior {fingerprint}"),
    ):
        next(reader.segments(pipeline.coder))


def test_a_prior_of_another_codec_is_refused(folder, tmp_path):
    changed = tmp_path / "codec"
    shutil.copytree(folder / "codec", changed)
    weights = read_arrays(changed / "weights.safetensors")
    name = min(weights)
    write_arrays(changed / "weights.safetensors", {**weights, name: weights[name] + 1})
    with pytest.raises(RunError, match="prior and codec don't belong together"):
        compress.run(changed, [folder / "unseen.npy"], tmp_path / "out", "cpu", prior=folder / "prior")
    with pytest.raises(RunError, match="prior and codec don't belong together"):
        sample.run(folder / "prior", out=tmp_path / "samples", codec=changed, device="cpu")


def test_damaged_priors_are_refused(folder, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(folder / "prior", damaged)
    content = bytearray((damaged / "weights.safetensors").read_bytes())
    for data, what in ((content[:-7], "damaged"), (b"\xff" * 64, "damaged"), (b"", "damaged")):
        (damaged / "weights.safetensors").write_bytes(data)
        with pytest.raises(RunError, match=what):
            packed(folder, tmp_path / "out", prior=damaged)
    with pytest.raises(RunError, match="the run of a codec, not of a prior"):
        packed(folder, tmp_path / "out", prior=folder / "codec")
    (damaged / "weights.safetensors").unlink()
    with pytest.raises(RunError, match="no weights yet"):
        packed(folder, tmp_path / "out", prior=damaged)


def test_it_samples_new_files(folder, tmp_path):
    def drawn(name: str, **more) -> list[np.ndarray]:
        sample.run(folder / "prior", out=tmp_path / name, device="cpu", **more)
        return [np.load(path) for path in sorted((tmp_path / name).glob("*.npy"))]

    made = drawn("a", count=5, seed=3)
    assert [one.shape for one in made] == [(32, 1)] * 5
    assert np.isfinite(made).all()
    again = drawn("b", count=5, seed=3, how=Sampling(batch=2))
    np.testing.assert_allclose(again, made, rtol=1e-5, atol=1e-6)
    assert not np.allclose(drawn("c", count=5, seed=4), made)
    about = json.loads((tmp_path / "a" / "samples.json").read_text())
    assert about["prior"] == open_prior(folder / "prior").fingerprint
    with pytest.raises(UserError, match="no sampler, steps or guidance"):
        drawn("d", how=Sampling(guidance=2.0))
    with pytest.raises(UserError, match="knows no classes"):
        drawn("e", classes=("1",))


def test_a_training_goes_on_where_it_was_stopped(folder, tmp_path):
    run = RunDirectory(tmp_path / "run")
    training.run(folder / "prior.yaml", ["train.steps=100"], run.path, False, True)
    with pytest.raises(RunError, match="already holds a run"):
        training.run(folder / "prior.yaml", [], run.path, False, True)
    with pytest.raises(RunError, match=r"other settings: prior\.width was 24, now 8"):
        training.run(folder / "prior.yaml", ["prior.width=8"], run.path, True, True)
    with pytest.raises(RunError, match="nothing to resume"):
        training.run(folder / "prior.yaml", [], folder / "data", True, True)
    assert run.spec_of(PRIOR).train.steps == 100


# --- configurations and the command line -----------------------------------------------------------


def test_a_configuration_names_its_codec(folder, tmp_path):
    kind, spec = load_any(folder / "prior.yaml")
    assert kind is PRIOR
    assert spec.codec == folder / "codec"
    with pytest.raises(ConfigError) as caught:
        load_any(folder / "prior.yaml", [f"codec={tmp_path}/nothing", "prior.widht=3"])
    assert {mistake.what.split("`")[1] for mistake in caught.value.mistakes} == {"codec", "prior.widht"}


def test_every_example_is_complete():
    configs = Path(__file__).parents[2] / "configs"
    for path in configs.glob("prior-*.yaml"):
        kind, spec = load_any(path, check_paths=False)
        assert kind is PRIOR
        assert yaml.safe_load(path.read_text())["codec"] == str(spec.codec)


def test_the_command_line_takes_priors(folder, tmp_path):
    runner, codec, prior = CliRunner(), str(folder / "codec"), str(folder / "prior")
    file, out = str(folder / "unseen.npy"), str(tmp_path)
    options = ["--prior", prior, "--device", "cpu"]
    assert runner.invoke(app, ["compress", codec, file, "-o", out, *options]).exit_code == 0
    small = str(tmp_path / "unseen.npy.acz")
    assert runner.invoke(app, ["decompress", small, "-o", out, "--run", codec, *options]).exit_code == 0
    assert (tmp_path / "unseen.npy").exists()
    refused = runner.invoke(app, ["compress", codec, file, "-o", f"{out}/2", "--prior", codec])
    assert refused.exit_code != 0
    assert "the run of a codec, not of a prior" in refused.output
    assert "Traceback" not in refused.output
