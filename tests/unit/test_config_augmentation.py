"""Configurations of the whole pipeline: what the parts make of them, and their mistakes."""

from pathlib import Path

import pytest

from anycodec.config.kinds import AUGMENTATION
from anycodec.config.loader import config_keys, dump_spec, load_kind, load_spec
from anycodec.errors import ConfigError, UserError
from anycodec.workflows import training

CONFIGS = Path(__file__).parents[2] / "configs"


def load(*overrides, config="gait-small", check_paths=False):
    return load_kind(AUGMENTATION, CONFIGS / f"{config}.yaml", overrides, check_paths=check_paths)


def mistakes(*overrides, **options):
    with pytest.raises(ConfigError) as caught:
        load(*overrides, **options)
    return str(caught.value)


@pytest.mark.parametrize("config", ["gait", "gait-small", "gait-small-unet"])
def test_the_configurations_are_valid_and_read_back(config, tmp_path):
    spec = load(config=config)
    (tmp_path / "again.yaml").write_text(dump_spec(spec))
    assert load_kind(AUGMENTATION, tmp_path / "again.yaml", check_paths=False) == spec
    codec, generator = spec.codec_run(spec.data), spec.generator_run(Path("x"))
    assert (codec.name, codec.data, generator.latents) == (spec.name, spec.data, Path("x"))
    assert codec.train == spec.codec.train
    assert generator.train == spec.generator.train


def test_the_small_ones_pair_a_dit_with_kl_and_a_unet_with_vq():
    dit, unet = load(config="gait-small"), load(config="gait-small-unet")
    assert "kl" in dit.codec_run(dit.data).codec.bottleneck
    assert "ema" in unet.codec_run(unet.data).codec.bottleneck
    assert [spec.generator.generator.type for spec in (dit, unet)] == ["dit", "unet"]


def test_samples_are_enough_for_the_largest_arm():
    for name in ("gait", "gait-small", "gait-small-unet"):
        spec = load(config=name)
        assert spec.augmentation.per_class >= spec.evaluation.multiples[-1] * spec.evaluation.budgets[-1]


def test_overrides_reach_every_section():
    overrides = ["codec.train.steps=2007", "generator.train.steps=8", "augmentation.budget=10"]
    spec = load(*overrides, "evaluation.seeds=2")
    assert (spec.codec.train.steps, spec.generator.train.steps) == (2007, 8)
    assert (spec.augmentation.budget, spec.evaluation.seeds) == (10, 2)


def test_keys_are_those_of_the_runs_less_what_the_pipeline_decides():
    keys = {key.key for key in config_keys(AUGMENTATION)}
    assert {"codec.train.steps", "generator.process.type", "augmentation.guidance", "shrink"} <= keys
    assert not {"codec.data.root", "codec.name", "generator.latents", "generator.seed"} & keys


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.window.size=[60,60]", "does not divide the window's 60"),
        ("generator.process=null", "generator.process"),
        ("augmentation.sampler=ddim", "can't be sampled by ddim"),
        ("evaluation.budgets=[5,1]", "evaluation.budgets"),
        ("codec.train.stepz=3", "did you mean `steps`"),
        ("codec.codec.latent_chanels=3", "latent_channels"),
    ],
)
def test_mistakes_carry_the_key_of_their_section(override, message):
    assert message in mistakes(override)


def test_a_budget_beside_a_manifest():
    found = mistakes("data.split={type: manifest, path: x.json}", "augmentation.budget=10")
    assert "augmentation.budget" in found


def test_missing_data_is_named():
    assert "data.root" in mistakes(check_paths=True)


def test_it_is_no_configuration_of_a_codec():
    with pytest.raises(ConfigError, match="of kind augmentation, not codec"):
        load_spec(CONFIGS / "gait-small.yaml", check_paths=False)


def test_it_is_nothing_to_train(tmp_path):
    with pytest.raises(UserError, match="anycodec augment"):
        training.run(CONFIGS / "gait-small.yaml", [f"data.root={tmp_path}"], tmp_path / "out", False, True)
    assert not (tmp_path / "out").exists()
