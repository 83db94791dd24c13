"""What does not fit a codec: it works and says so, or is refused with the way out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from anycodec.checkpoint import RunDirectory
from anycodec.cli import app
from anycodec.errors import Notice

RNG = np.random.default_rng(0)
SHORT = "train: {steps: 2, batch_size: 2, val_every: 2, val_batches: 1, threads: 1}\n"
SERIES = (
    "data: {type: table, workers: 0, window: {samples: 48}, normalizer: {type: revin}}\n"
    "codec: {type: simvqgan, base_channels: 8, channels: [8], strides: [4], res_blocks: 1, "
    "latent_channels: 8, norm_groups: 4, quantizer: {type: vq, codebook_size: 16}}\n" + SHORT
)
PICTURES = (
    "data: {type: image, workers: 0, window: {size: [32, 32]}}\n"
    "codec: {type: vqgan, base_channels: 8, channel_multipliers: [1, 1, 2], attention_levels: [2], "
    "res_blocks: 1, latent_channels: 8, norm_groups: 4, quantizer: {type: vq, codebook_size: 16}}\n" + SHORT
)


def acz(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def pictures(folder, *shape, count=10):
    folder.mkdir()
    for number in range(count):
        Image.fromarray(RNG.integers(0, 255, shape, dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def train(folder, text, data, *overrides):
    (folder / "config.yaml").write_text(text)
    return acz("train", folder / "config.yaml", f"data.root={data}", *overrides, "-o", folder / "run", "-q")


def refused(result, *words):
    """An error that a user can mend, without a traceback."""
    assert result.exit_code == 2, result.output
    for word in words:
        assert re.search(word, result.output), result.output
    assert "Traceback" not in result.output


def round_trip(run, file, out):
    """The restored picture: its size and mode."""
    packed = acz("compress", run, file, "-o", out / "packed", "--device", "cpu")
    assert packed.exit_code == 0, packed.output
    restored = acz("decompress", out / "packed" / f"{file.name}.acz", "-o", out / "back")
    assert restored.exit_code == 0, restored.output
    with Image.open(out / "back" / file.name) as picture:
        return picture.size, picture.mode


@pytest.fixture(scope="module")
def colour_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("colour")
    result = train(folder, PICTURES, pictures(folder / "data", 40, 40, 3))
    assert result.exit_code == 0, result.output
    return folder / "run"


@pytest.mark.parametrize(
    ("text", "window", "axis", "near"),
    [
        (SERIES, "data.window.samples=50", "50 along T", "48 or 52"),
        (SERIES, "data.window.samples=3", "3 along T", "window of 4"),
        (PICTURES, "data.window.size=[30,32]", "30 along H", "28 or 32"),
        (PICTURES, "data.window.size=[32,2]", "2 along W", "window of 4"),
    ],
)
def test_a_window_that_the_strides_do_not_divide(tmp_path, text, window, axis, near):
    refused(train(tmp_path, text, tmp_path, window), f"does not divide the window's {axis}", near)
    assert not (tmp_path / "run").exists()


def test_more_codes_than_latents_to_start_from(tmp_path):
    """In a process of its own: pytest collects warnings before they are shown."""
    data = pictures(tmp_path / "data", 32, 32, 3)
    (tmp_path / "config.yaml").write_text(PICTURES)
    words = ("train", "config.yaml", "data.root=data", "codec.quantizer.codebook_size=600", "-o", "run", "-q")
    result = subprocess.run(
        [sys.executable, "-m", "anycodec", *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stderr.splitlines() == [
        "warning: 600 codes start from 512 latents: take a larger batch or a smaller codebook_size"
    ]
    assert round_trip(tmp_path / "run", data / "0.png", tmp_path) == ((32, 32), "RGB")


def test_a_training_that_ends_before_its_codes_start(tmp_path):
    data = pictures(tmp_path / "data", 32, 32, 3)
    with pytest.warns(Notice, match=r"train\.steps = 2, before codec\.quantizer\.kmeans_after"):
        result = train(tmp_path, PICTURES, data, "codec.quantizer.kmeans_after=2")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", ["a.b", "'1'", "''"])
def test_names_of_terms_that_are_none(tmp_path, name):
    text = SERIES + f"losses: {{mse: {{type: mse}}, {name}: {{type: l1}}}}\n"
    refused(train(tmp_path, text, tmp_path), "is no name for a loss term", "begin with a letter")


@pytest.mark.parametrize("size", [1, 3, 8])
def test_pictures_smaller_than_a_window_and_the_receptive_field(colour_run, tmp_path, size):
    """With attention the receptive field is the whole window of 32 pixels."""
    data = pictures(tmp_path / "data", size, size + 1, 3)
    assert train(tmp_path, PICTURES, data).exit_code == 0
    for run in (tmp_path / "run", colour_run):
        out = tmp_path / run.parent.name
        assert round_trip(run, data / "0.png", out) == ((size + 1, size), "RGB")


def test_a_series_shorter_than_a_window(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    np.savetxt(data / "a.csv", RNG.normal(size=400).cumsum(), header="x", comments="")
    assert train(tmp_path, SERIES, data).exit_code == 0
    (tmp_path / "short.csv").write_text("x\n1.5\n2.5\n")
    assert acz("compress", tmp_path / "run", tmp_path / "short.csv", "-o", tmp_path).exit_code == 0
    assert acz("decompress", tmp_path / "short.csv.acz", "-o", tmp_path / "back").exit_code == 0
    assert np.loadtxt(tmp_path / "back" / "short.csv", skiprows=1).shape == (2,)


def test_grey_pictures_in_a_codec_of_three_channels(colour_run, tmp_path):
    data = pictures(tmp_path / "data", 40, 36)
    assert round_trip(colour_run, data / "0.png", tmp_path) == ((36, 40), "L")
    assert train(tmp_path, PICTURES, data).exit_code == 0
    assert RunDirectory(tmp_path / "run").read_manifest()["in_channels"] == 3


@pytest.mark.parametrize(
    ("text", "override", "words"),
    [
        (SERIES, "codec.strides=[2,2]", ("channels has 1 stages and strides 2",)),
        (PICTURES, "codec.attention_levels=[1,3]", (r"attention_levels \[3\] do not exist", "0 to 2")),
        (
            "data: {type: image, workers: 0, window: {size: [32, 32]}}\ncodec: {type: vqvae2}\n" + SHORT,
            "codec.level_quantizers=[{type: ema}]",
            ("level_quantizers has 1 entries and rates 2",),
        ),
        (
            "data: {type: video, workers: 0, window: {size: [32, 32], frames: 4}}\n"
            "codec: {type: causal3d}\n" + SHORT,
            "codec.channels=[8,8]",
            ("give all three the same number of entries",),
        ),
    ],
    ids=["strides", "attention", "vqvae2", "causal3d"],
)
def test_levels_that_do_not_match(tmp_path, text, override, words):
    refused(train(tmp_path, text, tmp_path, override), *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["commitment", "loss"])
def test_names_of_terms_that_others_have(tmp_path, name):
    text = SERIES + f"losses: {{{name}: {{type: mse}}}}\n"
    refused(train(tmp_path, text, tmp_path), "figure that trainings have anyway", "another name")
