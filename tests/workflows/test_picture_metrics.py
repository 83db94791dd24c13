"""`anycodec evaluate` with networks that look at pictures: codec and baseline, terminal, report."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anycodec.errors import RunError, WeightsError
from anycodec.metrics import onnx
from anycodec.torch.engine import TorchEngine
from anycodec.workflows import evaluate
from anycodec.workflows.train import run as train

CONFIG = """
data: {{type: {type}, root: {root}, workers: 0, window: {window}}}
codec: {codec}
train: {{steps: 2, val_every: 2, batch_size: 2, best: {{metric: val/psnr}}}}
"""
PICTURES = {
    "type": "image",
    "window": "{size: [32, 32]}",
    "codec": "{type: dvae, group_count: 3, base_channels: 4, quantizer: {type: ema, codebook_size: 16}}",
}
SERIES = {
    "type": "table",
    "window": "{samples: 32}",
    "codec": "{type: totem, hidden_channels: 4, res_channels: 2, quantizer: {type: ema, codebook_size: 16}}",
}


class MeanColour:
    name, batch = "mean colour", 4

    def prepare(self, picture):
        return picture

    def __call__(self, prepared):
        return prepared.mean(axis=(1, 2))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A run of a codec of pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(folder / f"{i}.png")
    return trained(folder, PICTURES)


def trained(folder: Path, settings: dict[str, str]) -> Path:
    (folder / "config.yaml").write_text(CONFIG.format(root=folder, **settings))
    train(folder / "config.yaml", [], folder / "run", resume=False, quiet=True)
    return folder / "run"


def test_figures_of_codec_and_baseline(pictures, monkeypatch, capsys):
    monkeypatch.setattr(onnx, "open_network", lambda name: MeanColour())
    monkeypatch.setattr(TorchEngine, "lpips", lambda self, net, device: lambda x, y: float(x[0, 0, 0]))
    assert evaluate.run(pictures, [], "cpu", features="mine", lpips="vgg") == 0
    result = json.loads((pictures / "evaluation.json").read_text())
    assert result["features"] == "mean colour"
    for coder in (result["codec"], result["baseline"]):
        assert coder["original"]["feature_pictures"] == result["n_files"] > 3
        assert coder["original"]["fid"] > 0
    # the distance above looks at the original alone
    lpips = [result[coder]["original"]["lpips_vgg"] for coder in ("codec", "baseline")]
    assert lpips[0] == lpips[1] > 0
    assert f"LPIPS (vgg) {lpips[0]:.4f}" in " ".join(capsys.readouterr().out.split())
    page = (pictures / "report.html").read_text()
    assert "LPIPS, VGG16" in page
    assert "FID and KID in the features of mean colour" in page
    assert json.loads((pictures / "manifest.json").read_text())["metrics"]["fid"] > 0


def test_without_the_weights_nothing_is_evaluated(pictures, monkeypatch, tmp_path):
    monkeypatch.setenv("ANYCODEC_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="lpips-alex are not on this machine") as error:
        evaluate.run(pictures, [], "cpu", lpips="alex")
    assert "anycodec weights get lpips-alex" in error.value.how


@pytest.mark.parametrize("wanted", [{"features": "dinov2"}, {"lpips": "alex"}])
def test_series_have_no_such_figures(tmp_path, wanted):
    rows = "\n".join(f"{i},{i % 7}" for i in range(600))
    (tmp_path / "series.csv").write_text(f"a,b\n{rows}\n")
    with pytest.raises(RunError, match="compare pictures, and this run codes table data"):
        evaluate.run(trained(tmp_path, SERIES), [], "cpu", **wanted)
