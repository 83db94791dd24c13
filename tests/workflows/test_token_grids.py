"""Codecs whose tokens do not lie on one plain grid, from training to files and back."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anycodec.bitstream.container import AczReader
from anycodec.workflows import compress, config, decompress
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.train import run as train

PICTURES = "data: {type: image, workers: 0, window: {size: [32, 32]}}"
TRAIN = "train: {steps: 4, batch_size: 2, val_every: 2, val_batches: 2, threads: 1}"
VQVAE2 = (
    "codec: {type: vqvae2, rates: [4, 2], hidden_channels: 8, res_channels: 4, latent_channels: 4, "
    "level_quantizers: [{type: ema, codebook_size: 32}, {type: fsq, levels: [3, 3]}]}"
)
DVAE = (
    "codec: {type: dvae, group_count: 3, base_channels: 8, res_blocks: 1, latent_channels: 8, "
    "quantizer: {type: ema, codebook_size: 32}}"
)
TOTEM = (
    "codec: {type: totem, patch: 16, hidden_channels: 8, res_channels: 4, latent_channels: 4, "
    "quantizer: {type: ema, codebook_size: 32}}"
)
SERIES = "data: {type: table, workers: 0, window: {samples: 64}, normalizer: {type: revin}}"
KINDS = {
    "vqvae2": (f"{PICTURES}\n{VQVAE2}\n{TRAIN}\n", "*.png", [(8, 8), (4, 4)]),
    "dvae": (f"{PICTURES}\n{DVAE}\n{TRAIN}\n", "*.png", [(8, 8)]),
    "totem": (f"{SERIES}\n{TOTEM}\n{TRAIN}\n", "*.csv", [(16,)]),
}
SUMMARIES = {
    "vqvae2": "vqvae2 with ema, fsq",
    "dvae": "dvae with ema",
    "totem": "totem with ema",
}


@dataclass(frozen=True)
class Trained:
    kind: str
    config: Path
    run: Path
    file: Path
    grids: list[tuple[int, ...]]


def write_files(folder: Path) -> None:
    """Six pictures and a table, all of waves."""
    folder.mkdir()
    y, x = np.mgrid[:70, :90]
    for i in range(6):
        wave = 127 + 100 * np.sin((x + i * y) / 9)
        Image.fromarray(np.stack([wave, wave[::-1], 255 - wave], -1).astype(np.uint8)).save(
            folder / f"{i}.png"
        )
    time = np.arange(900)
    pd.DataFrame({"a": np.sin(time / 7), "b": np.cos(time / 5)}).to_csv(folder / "waves.csv", index=False)


@pytest.fixture(scope="module", params=list(KINDS))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    text, pattern, grids = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    write_files(folder / "data")
    path = folder / "config.yaml"
    path.write_text(f"name: {request.param}\n{text}")
    train(path, [f"data.root={folder / 'data'}/{pattern}"], folder / "run", False, True)
    return Trained(request.param, path, folder / "run", sorted((folder / "data").glob(pattern))[0], grids)


def test_a_file_of_every_level_comes_back(trained: Trained, tmp_path: Path) -> None:
    assert compress.run(trained.run, [trained.file], tmp_path / "packed", "cpu") == 0
    (packed,) = (tmp_path / "packed").glob("*.acz")
    with AczReader(packed) as reader:
        coder = Pipeline.open(trained.run, "cpu").coder
        for _, segment in reader.segments(coder):
            assert [level.shape[1:] for level in segment.tokens.grids] == trained.grids
    assert decompress.run([packed], tmp_path / "out", None, "cpu") == 0
    (restored,) = (tmp_path / "out").iterdir()
    if trained.kind == "totem":
        assert len(restored.read_text().splitlines()) == len(trained.file.read_text().splitlines())
    else:
        with Image.open(trained.file) as one, Image.open(restored) as two:
            assert np.asarray(one).shape == np.asarray(two).shape


def test_the_check_says_what_the_levels_are(trained: Trained) -> None:
    with redirect_stdout(io.StringIO()) as said:
        config.check(trained.config, [f"data.root={trained.file}"])
    assert SUMMARIES[trained.kind] in said.getvalue()
