"""What the tests of generation share: pictures in folders of classes, and codecs that were never trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from anycodec.checkpoint import RunDirectory, write_arrays
from anycodec.config.loader import load_spec
from anycodec.data.loader import open_data
from anycodec.torch.codecs import make_codec
from anycodec.workflows.provenance import provenance
from anycodec.workflows.train import finish

NETWORK = (
    "base_channels: 8, channel_multipliers: [1, 2], res_blocks: 1, norm_groups: 4, latent_channels: 3, "
    "attention_levels: []"
)
KL = f"{{type: klvae, {NETWORK}}}"
VQ = f"{{type: vqgan, {NETWORK}, quantizer: {{type: vq, codebook_size: 16}}}}"
CONFIG = """
name: codec
data: {{type: image, mode: grey, root: {root}, workers: 0, window: {{size: [16, 24]}},
       split: {{type: time, ratios: [0.6, 0.2, 0.2]}}}}
codec: {codec}
train: {{steps: 1, threads: 1, device: cpu}}
"""
CLASSES = ("ID_1", "ID_2", "ID_10")


def write_pictures(folder: Path, classes: tuple[str, ...] = CLASSES, count: int = 5) -> None:
    """Grey pictures of 16 x 24, in a folder a class where there are any."""
    rng = np.random.default_rng(0)
    for name in classes or ("",):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (16, 24), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def codec_run(folder: Path, config: str) -> Path:
    """A finished run with the weights that a training would start from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "codec.yaml").write_text(config)
    spec = load_spec(folder / "codec.yaml")
    run, data = RunDirectory(folder / "codec"), open_data(spec)
    run.create(spec)
    torch.manual_seed(0)
    state = make_codec(spec.codec, data.in_channels).state_dict()
    write_arrays(run.weights, {name: value.numpy() for name, value in state.items()})
    run.update_manifest(**provenance(spec, data.in_channels))
    finish(run, spec, data)
    return run.path


def picture_codec(folder: Path, codec: str = KL, classes: tuple[str, ...] = CLASSES, count: int = 5) -> Path:
    """A codec of the pictures that it writes into `folder/data`."""
    write_pictures(folder / "data", classes, count)
    return codec_run(folder, CONFIG.format(root=folder / "data", codec=codec))
