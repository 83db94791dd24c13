"""The pipeline in miniature: pictures of two people to a report, and what a second call does again."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from anycodec.checkpoint import RunDirectory
from anycodec.cli import app
from anycodec.config.kinds import AUGMENTATION, CODEC, GENERATOR
from anycodec.config.loader import load_kind
from anycodec.config.train import TrainSpec
from anycodec.data.manifest import read_manifest
from anycodec.data.samples.gait import jet
from anycodec.errors import DataError
from anycodec.workflows.augment import STAGES, for_epochs
from anycodec.workflows.prepare import prepare, prepared_from_jet

CONFIG = """
shrink: true
data:
  type: image
  mode: grey
  window: {{size: [16, 16]}}
  workers: 0
  root: {root}
  split: {{type: time, ratios: [0.5, 0.2, 0.3], guard: 1}}
augmentation: {{per_class: 6, steps: 2, guidance: 1}}
codec:
  codec:
    {{type: klvae, base_channels: 4, channel_multipliers: [1, 2], attention_levels: [], mid_attention: false,
     res_blocks: 1, latent_channels: 2, norm_groups: 2}}
  train: {{steps: 2, batch_size: 2, device: cpu, threads: 1}}
generator:
  generator: {{type: dit, width: 8, depth: 1, heads: 1}}
  process: {{type: flow}}
  train: {{steps: 2, batch_size: 2, device: cpu, threads: 1}}
evaluation: {{budgets: [2], multiples: [1, 3], seeds: 1, classifier: {{steps: 2, channels: 2}}}}
"""
RNG = np.random.default_rng(0)


def write_pictures(folder, count=14, classes=("ID_1", "ID_2"), colour=True):
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            levels = RNG.uniform(0, 0.1, size=(32, 32))
            levels[8 + 12 * place] = 0.9
            pixels = jet(levels) if colour else np.rint(255 * levels).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i + 1}.png")
    return folder


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "augment.yaml"
    path.write_text(CONFIG.format(root=write_pictures(tmp_path / "real")))
    return path


def load(config, *overrides):
    return load_kind(AUGMENTATION, config, overrides)


def augment(config, out, *more):
    result = CliRunner().invoke(app, ["augment", str(config), "-o", str(out), "-q", "--device", "cpu", *more])
    return result, [line for line in result.output.splitlines() if line.startswith("[")]


def test_everything_from_pictures_to_a_report_and_nothing_twice(config, tmp_path):
    out = tmp_path / "out"
    found, lines = augment(config, out)
    assert found.exit_code == 0, found.output
    assert [line.split()[1] for line in lines] == list(STAGES)
    assert len(list((out / "sample").glob("ID_*/*.png"))) == 12
    result = json.loads((out / "evaluation" / "augmentation.json").read_text())
    # of 14: 12 after two guards of 1, divided 50 / 20 / 30
    assert result["counts"] == {"train": 12, "val": 4, "test": 8, "generated": 12}
    assert {row["name"] for row in result["descriptors"]} > {"torso"}  # the colours were a radar's
    assert (out / "evaluation" / "report.html").is_file()

    found, lines = augment(config, out)
    assert found.exit_code == 0, found.output
    assert all("unchanged" in line for line in lines)


def test_two_processes_train_both_and_what_leaves_the_result_as_it_is_repeats_nothing(config, tmp_path):
    out = tmp_path / "out"
    found, _ = augment(config, out, "--devices", "2", "--strategy", "ddp")
    assert found.exit_code == 0, found.output
    for name, of in (("codec", CODEC), ("generator", GENERATOR)):
        run = RunDirectory(out / name)
        assert run.spec_of(of).train.devices == 2
        assert run.read_manifest()["training"]["steps"] == 2
    watching = ["codec.train.threads=2", "generator.train.log_every=5", "data.workers=1", "--devices", "1"]
    found, lines = augment(config, out, *watching)
    assert found.exit_code == 0, found.output
    assert all("unchanged" in line for line in lines), found.output

    found, lines = augment(config, out, "generator.train.steps=3")
    assert found.exit_code == 0, found.output
    assert ["unchanged" in line for line in lines] == [True] * 3 + [False] * 3
    assert "generator.train.steps was 2, now 3" in found.output
    assert RunDirectory(out / "generator.previous").read_manifest()["training"]["steps"] == 2


SERIES = """
data:
  type: table
  series_id: site
  columns: [a, b]
  channels: independent
  window: {{samples: 16}}
  workers: 0
  root: {root}
  split: {{type: time, ratios: [0.5, 0.2, 0.3], guard: 0}}
augmentation: {{per_class: 8, steps: 2, guidance: 1}}
codec:
  codec:
    {{type: simvqgan, base_channels: 4, channels: [4], strides: [4], res_blocks: 0, mid_blocks: 0,
     latent_channels: 4, norm_groups: 2, quantizer: {{type: kl}}}}
  train: {{steps: 2, batch_size: 2, device: cpu, threads: 1}}
generator:
  generator: {{type: dit, width: 8, depth: 1, heads: 1}}
  process: {{type: flow}}
  train: {{steps: 2, batch_size: 2, device: cpu, threads: 1}}
evaluation: {{seeds: 1, classifier: {{steps: 2, channels: 2}}}}
"""


def test_some_columns_of_a_long_table_are_generated_and_compared_one_by_one(tmp_path):
    rows = [f"{site},{RNG.normal()},{RNG.normal()},{7}" for site in "xy" for _ in range(320)]
    (tmp_path / "long.csv").write_text("\n".join(["site,a,b,unused", *rows]) + "\n")
    config = tmp_path / "series.yaml"
    config.write_text(SERIES.format(root=tmp_path / "long.csv"))
    found, _ = augment(config, tmp_path / "out")
    assert found.exit_code == 0, found.output
    result = json.loads((tmp_path / "out" / "evaluation" / "augmentation.json").read_text())
    # two series of two columns: 160 of 320 rows to learn from, 96 to test, 16 a window
    assert result["counts"] == {"train": 40, "val": 2, "test": 24, "generated": 8}
    assert result["series"]["horizon"] == 4
    assert result["arms"] == []


def test_a_pipeline_is_not_for_launchers(config, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    found, _ = augment(config, tmp_path / "out")
    assert found.exit_code == 2
    assert "with --devices N" in " ".join(found.output.split())
    assert not (tmp_path / "out").exists()


def test_epochs_count_batches_of_all_windows():
    assert for_epochs(TrainSpec(batch_size=5), 12, 3).steps == 9
    assert for_epochs(TrainSpec(batch_size=50), 12, 1).steps == 1


def test_pictures_are_shrunk_to_levels_and_split_in_blocks(config, tmp_path):
    folder = tmp_path / "split"
    prepare(load(config), folder)
    assert prepared_from_jet(folder)
    pixels = np.asarray(Image.open(folder / "pictures" / "ID_1" / "3.png"))
    assert pixels.shape == (16, 16)
    # rows 8 and 9 share a cell: (.9 + .05) / 2, within the steps of the colour table
    assert pixels[4].mean() / 255 == pytest.approx(0.475, abs=0.02)
    manifest = read_manifest(folder / "split.json")
    assert [row[0] for row in manifest.train[:6]] == [f"ID_1/{n}.png" for n in range(1, 7)]
    assert [row[0] for row in manifest.test[:4]] == [f"ID_1/{n}.png" for n in range(11, 15)]


def test_a_budget_leaves_the_codec_and_the_generator_that_many_of_each(config, tmp_path):
    prepare(load(config, "augmentation.budget=3"), tmp_path / "a")
    prepare(load(config), tmp_path / "b")
    few, all_ = (read_manifest(tmp_path / name / "split.json") for name in "ab")
    assert set(few.train) < set(all_.train)
    assert [sum(row[0].startswith(name) for row in few.train) for name in ("ID_1/", "ID_2/")] == [3, 3]
    assert few.test == all_.test
    with pytest.raises(DataError, match="class ID_1 has 6 training samples, the budget is 9"):
        prepare(load(config, "augmentation.budget=9"), tmp_path / "c")


def test_grey_pictures_are_no_radar_s(tmp_path):
    config = tmp_path / "grey.yaml"
    config.write_text(CONFIG.format(root=write_pictures(tmp_path / "grey", colour=False)))
    prepare(load(config), tmp_path / "split")
    assert not prepared_from_jet(tmp_path / "split")


def test_pictures_of_one_name_are_refused(config, tmp_path):
    picture = Image.open(tmp_path / "real" / "ID_1" / "1.png")
    picture.save(tmp_path / "real" / "ID_1" / "1.jpg")
    with pytest.raises(DataError, match=r"would both become ID_1/1\.png"):
        prepare(load(config), tmp_path / "split")


def test_a_split_without_test_samples(config, tmp_path):
    with pytest.raises(DataError, match="nothing to test with"):
        prepare(load(config, "data.split.ratios=[0.8,0.2,0]"), tmp_path / "split")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--devices", "3"], "3 devices can't share a batch of 2 evenly"),
        (["--strategy", "ddp"], "ddp divides the work among devices, and there is one"),
        (["generator.train.num_nodes=2"], "a pipeline trains on one machine"),
        (["--skip-generator", "--skip-sample", "--skip-latents", "--skip-codec"], "--skip-codec"),
        (["codec.train.stepz=1"], "did you mean `steps`"),
    ],
)
def test_what_cannot_be(config, tmp_path, options, message):
    found, _ = augment(config, tmp_path / "out", *options)
    assert found.exit_code == 2, found.output
    assert message in " ".join(found.output.split())
