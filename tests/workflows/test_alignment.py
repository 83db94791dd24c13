"""Feature networks, and codecs aligned with them, from configuration to run directory."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anycodec.checkpoint import RunDirectory
from anycodec.config.kinds import FEATURES
from anycodec.config.loader import load_kind, load_spec
from anycodec.engine import get_engine
from anycodec.errors import ConfigError, DataError, RunError
from anycodec.torch.training.features import FeaturesTraining
from anycodec.torch.training.module import CodecTraining
from anycodec.workflows import training
from anycodec.workflows.teachers import open_features
from anycodec.workflows.train import train
from workflows.test_training import assert_equal_runs

DATA = """\
data:
  type: image
  mode: grey
  root: {root}
  window: {{size: [16, 16]}}
  split: {{type: time, ratios: [0.6, 0.2, 0.2]}}
  workers: 0
"""
FEATURES_CONFIG = """\
name: features
{data}
features:
  network: {{base_channels: 4, channel_multipliers: [1, 2], norm_groups: 2}}
train:
  steps: 40
  batch_size: 8
  val_every: 10
  val_batches: 4
  checkpoint_every: 10
  log_every: 5
  threads: 1
  schedule: {{type: constant}}
"""
CODEC_CONFIG = """\
name: codec
{data}
codec:
  type: klvae
  base_channels: 4
  channel_multipliers: [1, 1, 2]
  attention_levels: []
  mid_attention: false
  res_blocks: 1
  latent_channels: 3
  norm_groups: 2
alignment:
  teacher: {{type: run, path: {teacher}}}
  stages: [{{share: 1, weight: 0.5, cosine_margin: 0, distance_margin: 0}}, {{share: 1}}]
equivariance: {{weight: 0.1}}
train:
  steps: 12
  batch_size: 4
  ema: 0.9
  val_every: 6
  val_batches: 2
  checkpoint_every: 4
  log_every: 1
  threads: 1
  best: {{metric: val/psnr}}
  schedule: {{type: stages, stages: [{{share: 2, lr: 1.0e-3}}, {{share: 1, lr: 2.0e-4}}]}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes: bands along the rows, one high, one low; the rest is noise."""
    folder = tmp_path_factory.mktemp("alignment")
    random = np.random.default_rng(0)
    for name, row in (("ID_1", 3), ("ID_2", 11)):
        (folder / "data" / name).mkdir(parents=True)
        for number in range(30):
            picture = random.integers(0, 120, (16, 16))
            picture[row : row + 2] += 120
            Image.fromarray(picture.astype(np.uint8)).save(folder / "data" / name / f"{number}.png")
    data = DATA.format(root=folder / "data")
    (folder / "features.yaml").write_text(FEATURES_CONFIG.format(data=data))
    (folder / "codec.yaml").write_text(CODEC_CONFIG.format(data=data, teacher=folder / "features"))
    return folder


@pytest.fixture(scope="module")
def teacher(folder: Path) -> Path:
    run = folder / "features"
    train_features(folder, run)
    return run


def train_features(folder: Path, run: Path, *overrides: str, resume: bool = False) -> None:
    training.run(folder / "features.yaml", list(overrides), run, resume, True)


def train_codec(folder: Path, run: Path, *overrides: str, resume: bool = False) -> None:
    spec = load_spec(folder / "codec.yaml", ["codec.label_channels=8", *overrides])
    train(spec, RunDirectory(run), resume=resume, quiet=True)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# --- features -----------------------------------------------------------------------------------


def test_a_classifier_learns_the_classes(teacher: Path) -> None:
    manifest = RunDirectory(teacher).read_manifest()
    assert manifest["classes"] == ["ID_1", "ID_2"]
    assert manifest["training"]["best"]["metric"] == "val/accuracy"
    assert manifest["training"]["best"]["value"] == 1.0
    network = open_features(teacher, "cpu")
    windows = np.zeros((3, 1, 16, 16), np.float32) - 0.5
    windows[0, :, 3:5] = 0.9
    windows[1:, :, 11:13] = 0.9
    assert network(windows).shape == (3, network.width, 4, 4)
    assert network.vectors(windows).shape == (3, 4 * network.width)
    probabilities = network.probabilities(windows)
    assert probabilities.argmax(axis=1).tolist() == [0, 1, 1]
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_a_killed_training_of_features_resumes_to_the_same(
    folder: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = FeaturesTraining.train_step

    def die(self: FeaturesTraining, *rest: object) -> object:
        if self.step == 25:
            raise RuntimeError("killed")
        return step(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(FeaturesTraining, "train_step", die)
    with pytest.raises(RuntimeError, match="killed"):
        train_features(folder, tmp_path / "run")
    monkeypatch.undo()
    train_features(folder, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == (
        teacher / "weights.safetensors"
    ).read_bytes()
    assert rows(tmp_path / "run") == rows(teacher)


def test_features_without_classes(folder: Path, tmp_path: Path) -> None:
    vicreg = ["features.objective.type=vicreg", "features.objective.width=16"]
    train_features(folder, tmp_path / "run", *vicreg, "train.steps=20")
    found = rows(tmp_path / "run")
    losses = [float(row["train/loss"]) for row in found if row["train/loss"]]
    assert losses[-1] < losses[0]
    with pytest.raises(TypeError, match="without classes"):
        open_features(tmp_path / "run", "cpu").probabilities(np.zeros((1, 1, 16, 16), np.float32))


def test_a_classifier_needs_classes(folder: Path, tmp_path: Path) -> None:
    one = folder / "data" / "ID_1"
    with pytest.raises(DataError, match=r"two classes or more|no class"):
        train_features(folder, tmp_path / "run", f"data.root={one}")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_other_features_is_left_alone(folder: Path, teacher: Path) -> None:
    with pytest.raises(RunError, match="already holds a run"):
        train_features(folder, teacher)
    with pytest.raises(RunError, match=r"features\.network\.base_channels was 4, now 8"):
        train_features(folder, teacher, "features.network.base_channels=8", resume=True)


def test_windows_too_small_for_the_network(folder: Path) -> None:
    with pytest.raises(ConfigError, match="a feature covers 32 values along each axis, windows have 16"):
        load_kind(FEATURES, folder / "features.yaml", ["features.network.channel_multipliers=[1,1,1,1,1]"])


# --- alignment ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aligned(folder: Path, teacher: Path) -> Path:
    run = folder / "aligned"
    train_codec(folder, run)
    return run


def test_an_aligned_run(aligned: Path) -> None:
    run = RunDirectory(aligned)
    assert run.read_manifest()["classes"] == ["ID_1", "ID_2"]
    logged = [row for row in rows(aligned) if row["train/alignment"]]
    assert len(logged) == 12
    rates = [float(row["lr"]) for row in logged]
    assert rates[:7] == pytest.approx([1e-3] * 7)
    assert rates[8:] == pytest.approx([2e-4] * 4)
    assert all(float(row["train/equivariance"]) > 0 for row in logged)
    assert (aligned / "alignment.safetensors").is_file()
    codec = get_engine("torch").load(run.spec(), 1, run.weights, "cpu")
    assert codec.reconstruct(np.zeros((2, 1, 16, 16), np.float32)).shape == (2, 1, 16, 16)


def test_a_killed_run_resumes_to_the_same_codec_and_projection(
    folder: Path, aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = CodecTraining.training_step

    def die(self: CodecTraining, *rest: object) -> object:
        if self.steps_done == 6:
            raise RuntimeError("killed")
        return step(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(CodecTraining, "training_step", die)
    with pytest.raises(RuntimeError, match="killed"):
        train_codec(folder, tmp_path / "run")
    monkeypatch.undo()
    train_codec(folder, tmp_path / "run", resume=True)
    assert_equal_runs(aligned, tmp_path / "run")
    assert (tmp_path / "run" / "alignment.safetensors").read_bytes() == (
        aligned / "alignment.safetensors"
    ).read_bytes()


def test_beside_a_discriminator(folder: Path, teacher: Path, tmp_path: Path) -> None:
    train_codec(
        folder,
        tmp_path / "run",
        "adversarial.discriminator.layers=1",
        "adversarial.discriminator.base_channels=4",
        "adversarial.discriminator.norm=instance",
        "adversarial.start=2",
        "adversarial.lead=1",
        "train.steps=5",
    )
    last = [row for row in rows(tmp_path / "run") if row["train/alignment"]][-1]
    assert float(last["train/alignment_weight"]) > 0
    assert float(last["train/adaptive_weight"]) > 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["codec.type=vqgan"], r"alignment.teacher`: [\s\S]*codec vqgan has no latents"),
        (["codec.type=vqgan"], r"equivariance.weight`: [\s\S]*codec vqgan has no continuous latents"),
        (["data.normalizer.type=revin"], r"alignment.teacher`: [\s\S]*pictures in \[-1, 1\]"),
        (["train.precision=fp16"], r"alignment.adaptive`: [\s\S]*vanish in fp16"),
        (
            ["equivariance.shift=false", "equivariance.smallest_scale=1"],
            r"equivariance.shift`: [\s\S]*equivariant to nothing",
        ),
        (["alignment.stages=[]"], "alignment.stages"),
        (["alignment.teacher.type=onxx"], "did you mean `onnx`"),
    ],
)
def test_mistakes_are_named_before_data_loads(folder: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_spec(folder / "codec.yaml", overrides, check_paths=False)


def test_a_teacher_of_other_windows_is_refused(folder: Path, teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="windows have 3 channels here, 1 there"):
        train_codec(folder, tmp_path / "run", "data.mode=rgb")
    with pytest.raises(RunError, match="not a run directory"):
        train_codec(folder, tmp_path / "run", f"alignment.teacher.path={tmp_path}")
    with pytest.raises(RunError, match="this is the run of a features"):
        RunDirectory(teacher).spec()
    assert not (tmp_path / "run").exists()


def test_a_codec_that_knows_classes_needs_some(folder: Path, teacher: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted((folder / "data").rglob("*.png"))[:12]):
        (flat / f"{number}.png").write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="no classes"):
        train_codec(folder, tmp_path / "run", f"data.root={flat}", "alignment=null")
