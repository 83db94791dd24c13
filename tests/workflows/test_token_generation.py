"""Generators of tokens from codecs with several levels to native files, in miniature."""

import csv

import numpy as np
import pytest
from generation_runs import CLASSES, NETWORK, codec_run, picture_codec
from token_runs import CONFIG as ARRAYS
from token_runs import VQ as VQ_1D
from token_runs import write_arrays

from anycodec.engine import Sampling
from anycodec.errors import ConfigError, UserError
from anycodec.workflows import latents as encode
from anycodec.workflows import sample, training

RESIDUAL = (
    f"{{type: vqgan, {NETWORK}, quantizer: {{type: residual, stages: 2, "
    "quantizer: {type: vq, codebook_size: 8}}}"
)
CONFIG = """
latents: {latents}
generator: {{type: tokens, width: 16, depth: 1, heads: 1}}
train: {{steps: 4, batch_size: 4, val_every: 2, val_batches: 1, checkpoint_every: 4, log_every: 1,
        ema: 0.9, threads: 1, device: cpu}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A generator of the tokens of pictures."""
    folder = tmp_path_factory.mktemp("tokens")
    encode.run(picture_codec(folder, RESIDUAL), [], folder / "latents", "cpu")
    (folder / "tokens.yaml").write_text(CONFIG.format(latents=folder / "latents"))
    training.run(folder / "tokens.yaml", [], folder / "gen", False, True)
    return folder


def sampled(folder, out, batch=64, guidance=2.0, **more):
    how = Sampling(steps=4, guidance=guidance, batch=batch)
    sample.run(folder / "gen", out=out, how=how, device="cpu", **more)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.png")}


def test_the_training_starts_where_all_codes_are_alike(folder):
    with (folder / "gen" / "metrics.csv").open(newline="") as file:
        first, *_ = csv.DictReader(file)
    assert float(first["train/cross_entropy"]) == pytest.approx(np.log(8), abs=0.3)


def test_the_same_seed_gives_the_same_files_whatever_the_batch(folder, tmp_path):
    one = sampled(folder, tmp_path / "a", batch=1, count=2, seed=7)
    assert set(one) == {f"{name}/{name}-0000{number}.png" for name in CLASSES for number in range(2)}
    assert sampled(folder, tmp_path / "b", batch=4, count=2, seed=7) == one
    assert sampled(folder, tmp_path / "c", batch=4, count=2, seed=8) != one


def test_what_does_not_go_together(folder, tmp_path):
    with pytest.raises(ConfigError, match="works on tokens, which have no process"):
        training.run(folder / "tokens.yaml", ["process={type: diffusion}"], tmp_path / "run", False, True)
    with pytest.raises(UserError, match="a generator of tokens has no sampler"):
        sample.run(folder / "gen", out=tmp_path / "out", how=Sampling(sampler="ddim"), device="cpu")


def test_series_have_tokens_too(tmp_path):
    write_arrays(tmp_path / "data", count=4)
    config = ARRAYS.format(root=tmp_path / "data", quantizer=VQ_1D).replace("median_mad", "revin")
    run = codec_run(tmp_path, config)
    encode.run(run, [], tmp_path / "latents", "cpu")
    (tmp_path / "tokens.yaml").write_text(CONFIG.format(latents=tmp_path / "latents"))
    training.run(tmp_path / "tokens.yaml", ["train.steps=1"], tmp_path / "gen", False, True)
    sample.run(tmp_path / "gen", out=tmp_path / "out", classes=("0",), count=2, device="cpu")
    made = [np.load(tmp_path / "out" / "part0" / f"part0-0000{n}.npy") for n in range(2)]
    assert made[0].shape == (32, 1)
    assert np.isfinite(made).all()
    assert not np.array_equal(*made)
