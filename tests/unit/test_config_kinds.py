"""Configurations of generators: found by their key, checked like any other."""

from pathlib import Path

import pytest

from anycodec.checkpoint import RunDirectory
from anycodec.config.completion import complete_override
from anycodec.config.kinds import GENERATOR, KINDS
from anycodec.config.loader import config_keys, dump_spec, json_schema, load_any, load_kind, load_spec
from anycodec.errors import ConfigError, RunError
from anycodec.workflows.config import summary

CONFIGS = Path(__file__).parents[2] / "configs"

CONFIG = """\
latents: {latents}
generator: {{type: dit, size: tiny}}
process: {{type: flow}}
train: {{steps: 20}}
"""


@pytest.fixture
def config(tmp_path):
    latents = tmp_path / "latents"
    latents.mkdir()
    (latents / "manifest.json").write_text("{}")
    path = tmp_path / "gen.yaml"
    path.write_text(CONFIG.format(latents=latents))
    return path


def mistakes(config, *overrides):
    with pytest.raises(ConfigError) as caught:
        load_any(config, overrides)
    return caught.value.mistakes


def test_the_deciding_key_gives_the_kind(config):
    kind, spec = load_any(config, ["train.ema=0.9"])
    assert kind is GENERATOR
    assert (spec.generator.type, spec.process.type, spec.train.steps, spec.train.ema) == (
        "dit",
        "flow",
        20,
        0.9,
    )


def test_an_override_decides_too(tmp_path):
    (tmp_path / "empty.yaml").write_text("name: g\n")
    kind, _ = load_any(
        tmp_path / "empty.yaml",
        ["generator.type=dit", "process.type=flow", "latents=x"],
        check_paths=False,
    )
    assert kind is GENERATOR


def test_what_is_written_reads_back(config, tmp_path):
    _, spec = load_any(config)
    (tmp_path / "again.yaml").write_text(dump_spec(spec))
    assert load_kind(GENERATOR, tmp_path / "again.yaml") == spec


def test_all_mistakes_come_at_once_with_their_places(config):
    text = config.read_text()
    config.write_text(text.replace("steps: 20", "stepz: 20") + "codec: {type: klvae}\nseeed: 1\n")
    found = mistakes(config, "train.label_dropout=1")
    said = [(mistake.what, mistake.where) for mistake in found]
    assert said == [
        ("unknown key `train.stepz`; did you mean `steps`?", f"{config}:4"),
        ("unknown key `codec`; with `generator` this is no configuration of a codec, which would have it",
         f"{config}:5"),
        ("unknown key `seeed`; did you mean `seed`?", f"{config}:6"),
        ("`train.label_dropout` must be number >= 0 and < 1, not 1", "override 'train.label_dropout=1'"),
    ]  # fmt: skip


def test_latents_need_a_process(config):
    (found,) = mistakes(config, "process=null")
    assert "works on latents, which need a process" in found.what
    assert found.how == "add process.type=flow"


def test_missing_latents_are_found(config, tmp_path):
    (found,) = mistakes(config, f"latents={tmp_path}/nothing")
    assert "there are no latents in" in found.what
    assert "anycodec latents RUN DIR" in found.how


def test_a_generator_is_no_codec(config, tmp_path):
    with pytest.raises(ConfigError, match="of kind generator, not codec"):
        load_spec(config)
    run = RunDirectory(tmp_path / "run")
    run.create(load_kind(GENERATOR, config))
    with pytest.raises(RunError, match="the run of a generator, not of a codec"):
        run.spec()
    assert run.spec_of(GENERATOR) == load_kind(GENERATOR, config)


@pytest.mark.parametrize("kind", KINDS.values(), ids=str)
def test_every_kind_lists_and_describes_its_keys(kind):
    keys = config_keys(kind)
    assert len({key.key for key in keys}) == len(keys)
    assert [key.key for key in keys if not key.description] == []
    assert set(json_schema(kind)["properties"]) == set(kind.spec.model_fields)


@pytest.mark.parametrize("name", ["gait-dit", "gait-unet", "features-gait", "gait-vavae", "nanopore"])
def test_every_kind_is_summed_up_in_a_line(name):
    _, spec = load_any(CONFIGS / f"{name}.yaml", check_paths=False)
    assert summary(spec).startswith(f"{spec.name}: ")
    assert f"{spec.train.steps} steps" in summary(spec)


def test_completion_offers_the_keys_of_the_kind(config):
    words = [word for word, _ in complete_override(config, [], "train.label")]
    assert words == ["train.label_dropout="]
