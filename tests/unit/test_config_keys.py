"""The list of settings, the JSON schema and the completion of overrides."""

import json
import subprocess
import sys

import pytest

from anycodec.config.completion import complete_override
from anycodec.config.keys import active_keys
from anycodec.config.loader import config_keys, json_schema, load_spec
from anycodec.config.secrets import is_secret
from anycodec.config.source import read_file

CONFIG = """\
data: {type: image, root: .}
codec: {type: vqgan, quantizer: {type: ema}}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    return path


def completions(config, *words):
    *before, incomplete = words
    return [word for word, _ in complete_override(config, before, incomplete)]


def test_keys_say_type_default_and_meaning():
    keys = {key.key: key for key in config_keys()}
    stem = keys["codec[type=simvqgan].stem_stride"]
    assert (stem.type, stem.default, stem.description) == (
        "integer >= 1",
        "1",
        "downsampling of the first convolution (and upsampling of the last)",
    )
    assert keys["data.type"].default == "required"
    assert keys["train.precision"].type == "fp32 | bf16 | fp16"
    assert keys["train.clip"].type == "number > 0 or null"
    assert keys["train.optimizer.betas"].default == "[0.9, 0.99]"
    assert keys["train.early_stop"].type == "section or null"


def test_keys_of_some_types_only_name_them():
    keys = {key.key for key in config_keys()}
    assert any(key.endswith("quantizer[type=ema].decay") for key in keys)
    assert any(key.endswith("quantizer[type=residual].quantizer[type=ema].decay") for key in keys)
    assert "data.split[type=file|signal|class].seed" in keys
    assert any(key.startswith("codec[type=") and key.endswith("].attention_levels") for key in keys)
    assert "losses.<name>.weight" in keys
    assert "data.root" in keys


def test_every_key_is_unique_and_described():
    keys = config_keys()
    assert len({key.key for key in keys}) == len(keys)
    assert [key.key for key in keys if not key.description] == []


def test_no_setting_looks_like_a_secret():
    names = {name for key in config_keys() for name in key.key.split(".")}
    assert [name for name in names if is_secret(name)] == []


def test_schema_describes_the_settings():
    schema = json_schema()
    json.dumps(schema)
    assert set(schema["required"]) == {"data", "codec"}
    assert schema["additionalProperties"] is False
    assert set(schema["$defs"]["TimeSplit"]["properties"]) == {"type", "ratios", "guard"}


def test_active_keys_are_those_that_can_be_set(config):
    keys = active_keys(read_file(config)[0])
    assert {
        "codec.quantizer.decay",
        "codec.attention_levels",
        "losses.mse.weight",
        "data.window.size",
    } <= set(keys)
    assert not {"codec.strides", "data.window.samples"} & set(keys)
    for key, leaf in keys.items():
        if key.startswith(("alignment.", "equivariance.")):
            continue  # off here: for codecs of type klvae only
        if leaf.choices and "null" not in leaf.choices and not key.endswith(("type", "engine")):
            load_spec(config, [f"{key}={leaf.choices[-1]}"], check_paths=False)


def test_keys_complete_to_those_of_the_types_in_the_file(config):
    assert "codec.quantizer.decay=" in completions(config, "codec.quantizer.")
    assert "codec.attention_levels=" in completions(config, "codec.a")
    assert completions(config, "codec.str") == []


def test_keys_follow_the_overrides_before(config):
    assert completions(config, "codec.type=simvqgan", "codec.str") == ["codec.strides="]


def test_values_complete(config):
    assert completions(config, "train.precision=") == [
        f"train.precision={x}" for x in ("fp32", "bf16", "fp16")
    ]
    assert completions(config, "codec.quantizer.type=s") == ["codec.quantizer.type=simvq"]
    assert completions(config, "train.tensorboard=") == ["train.tensorboard=true", "train.tensorboard=false"]
    assert completions(config, "train.steps=") == []


def test_the_only_key_left_comes_with_its_values(config):
    modes = ["train.best.mode=max", "train.best.mode=min", "train.best.mode=null"]
    assert completions(config, "train.best.mo") == modes


def test_bash_splits_words_at_equal_signs(config):
    assert completions(config, "train.precision", "=", "b") == ["bf16"]
    assert completions(config, "train.precision", "") == ["fp32", "bf16", "fp16"]
    assert completions(config, "codec.type", "=", "simvqgan", "codec.str") == ["codec.strides="]


def test_completion_without_a_readable_file(tmp_path):
    (tmp_path / "broken.yaml").write_text("a: [")
    for config in (None, tmp_path / "gone.yaml", tmp_path / "broken.yaml"):
        assert completions(config, "train.ste") == ["train.steps="]
        assert completions(config, "data.type=p") == ["data.type=pod5"]


def test_completion_in_the_shell(config):
    words = f"anycodec train {config} train.device="
    code = "import sys; sys.argv[0] = 'anycodec'; from anycodec.cli import main; main()"
    variables = {"_ANYCODEC_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "3"}
    done = subprocess.run(
        ["env", *(f"{k}={v}" for k, v in variables.items()), sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["train.device=auto", "train.device=cpu", "train.device=cuda"]
