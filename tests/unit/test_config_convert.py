"""The video system's param.json, as its documentation shows it, becomes a configuration of ours."""

import json
from pathlib import Path

import pytest

from anycodec.config import param_json_keys
from anycodec.config.kinds import CODEC
from anycodec.config.loader import check_tree, load_spec
from anycodec.config.param_json import convert_param_json
from anycodec.errors import ConfigError
from anycodec.workflows import config as workflow

DOCUMENTED = """{
  "model_type": "vqvae2optvq",           // model
  "use_images": true,
  "scaling_rates": [4, 2],
  "model_args": {
    "group_count": 5, "n_hid": 256, "vocab_size": 4096, "n_init": 1024,
    "input_channels": 3, "output_channels": 3, "commitment_cost": 0.25, "decay": 0.99
  },
  "data_args": {
    "batch_size": 1, "num_threads": 6, "device_id": 0,
    "training_data_files": ["pictures/a/1.png", "pictures/b/2.png"],
    "validation_data_files": ["others/3.png"],
    "seed": 2025, "sequence_length": 8, "shard_id": 0, "num_shards": 1, "initial_prefetch_size": 1024
  },
  "train_args": {
    "num_steps": 300020, "lr": 0.0001, "lr_decay": 0.99, "folder_name": "save_data",
    "checkpoint_path": null,             // from scratch
    "device": "auto", "save_interval": 10000, "validation_interval": 1000,
    "use_gan": true, "disc_factor": 0.8, "disc_start": 50000,
    "pixel_loss_factor": 1.0, "perceptual_loss_factor": 1.0,
    "disc_lr": 1e-05, "disc_beta1": 0.5, "disc_beta2": 0.9
  },
  "use_wandb": false,
  "project_name": "train_vqgan_3.2.0_new_data"
}
"""


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "param.json"
    path.write_text(DOCUMENTED)
    return path


def params(path: Path, **changes) -> Path:
    """The documented file with other values; sections are merged."""
    values = json.loads("\n".join(line.split("//")[0] for line in DOCUMENTED.splitlines()))
    for key, value in changes.items():
        values[key] = values.get(key, {}) | value if isinstance(value, dict) else value
    path.write_text(json.dumps(values))
    return path


def spec_of(path: Path):
    return check_tree(convert_param_json(path).root, kind=CODEC, check_paths=False)


def test_the_documented_file(file):
    spec = spec_of(file)
    assert (spec.name, spec.seed) == ("train_vqgan_3.2.0_new_data", 2025)
    assert (spec.data.type, str(spec.data.root), spec.data.workers) == ("image", "pictures", 6)
    assert (spec.codec.type, spec.codec.rates, spec.codec.quantizer.type) == ("vqvae2", (4, 2), "optvq")
    assert spec.codec.quantizer.codebook_size == 4096
    assert spec.train.batch_size == 8  # one sequence of 8 pictures
    assert (spec.train.steps, spec.train.optimizer.lr) == (300020, 1e-4)
    assert (spec.train.checkpoint_every, spec.train.val_every) == (10000, 1000)
    assert (spec.train.schedule.type, spec.train.schedule.gamma, spec.train.schedule.every) == (
        "exponential", 0.99, 1000,
    )  # fmt: skip
    assert {name: term.weight for name, term in spec.losses.items()} == {"l1": 1.0, "lpips": 1.0}
    adversarial = spec.adversarial
    assert adversarial.weight == pytest.approx(0.8 * 0.8)
    assert (adversarial.start, adversarial.every, adversarial.optimizer.lr) == (50000, 3, 1e-5)
    # theirs: .01 (1 - 2 step / 300020), gone at step 150010; ours begins 500 steps before the start
    assert adversarial.noise.scale == pytest.approx(0.01 * (1 - 2 * 49500 / 300020))
    assert adversarial.noise.steps == 150010 - 49500


def test_each_key_of_the_documented_file_is_mapped_or_listed(file):
    converted = convert_param_json(file)
    assert set(converted.left_out) == {
        "model_args.group_count", "model_args.n_hid", "model_args.n_init", "model_args.output_channels",
        "model_args.decay", "data_args.device_id", "data_args.validation_data_files", "data_args.shard_id",
        "data_args.num_shards", "data_args.initial_prefetch_size", "train_args.folder_name",
        "train_args.checkpoint_path",
    }  # fmt: skip


def test_no_key_is_said_to_be_two_things():
    renamed = set(param_json_keys.ALL_RENAMED)
    assert not renamed & param_json_keys.COMPOSED
    assert not renamed & set(param_json_keys.WITHOUT)
    assert not param_json_keys.COMPOSED & set(param_json_keys.WITHOUT)


@pytest.mark.parametrize("name", param_json_keys.MODELS)
@pytest.mark.parametrize("images", [True, False])
def test_every_model_of_the_registry_passes_the_check(tmp_path, name, images):
    file = params(
        tmp_path / "param.json", model_type=name, use_images=images, data_process={"train": "videos"}
    )
    target = tmp_path / "run.yaml"
    workflow.convert(file, target)
    spec = load_spec(target, check_paths=False)
    assert (spec.codec.type, spec.codec.quantizer.type) == param_json_keys.MODELS[name]
    assert spec == spec_of(file)
    assert "device_id: choose a GPU" in target.read_text()


def test_video_and_dvae(tmp_path):
    spec = spec_of(params(tmp_path / "p.json", model_type="vq_vae", use_images=False))
    assert (spec.data.window.frames, spec.train.batch_size) == (8, 1)
    assert (spec.codec.group_count, spec.codec.base_channels, spec.codec.latent_channels) == (5, 256, 1024)
    assert (spec.codec.quantizer.decay, spec.codec.quantizer.restart_after) == (0.99, 0)


def test_no_moving_average_is_the_learned_codebook(tmp_path):
    spec = spec_of(params(tmp_path / "p.json", model_type="VqVae", model_args={"decay": 0}))
    assert spec.codec.quantizer.type == "vq"


def test_taming_ddconfig(tmp_path):
    ddconfig = {
        "double_z": False, "z_channels": 256, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
        "ch_mult": [1, 1, 2, 2, 4], "num_res_blocks": 2, "attn_resolutions": [16], "dropout": 0.0,
    }  # fmt: skip
    args = {"ddconfig": ddconfig, "lossconfig": {"target": "a.b", "params": {"disc_start": 1}}}
    file = params(tmp_path / "p.json", model_type="VQGAN", model_args=args)
    spec = spec_of(file)
    assert spec.data.window.size == (256, 256)
    assert (spec.codec.attention_levels, spec.codec.embed_channels) == ((4,), 1024)
    assert spec.train.optimizer.betas == (0.5, 0.9)
    assert (spec.adversarial.every, spec.adversarial.noise) == (1, None)
    assert "lossconfig never reached" in convert_param_json(file).left_out["model_args.lossconfig"]


def test_without_gan(tmp_path):
    file = params(tmp_path / "p.json", train_args={"use_gan": False})
    spec = spec_of(file)
    assert list(spec.losses) == ["mse"]
    assert spec.adversarial is None
    assert "use_gan is false" in convert_param_json(file).left_out["train_args.disc_lr"]


def test_a_discriminator_that_never_began(tmp_path):
    file = params(tmp_path / "p.json", train_args={"num_steps": 1000})
    assert spec_of(file).adversarial is None
    assert any("after the last step" in note for note in convert_param_json(file).notes)


def test_unknown_keys_and_models_are_named_together(tmp_path):
    file = params(tmp_path / "p.json", model_type="VQVAE3", train_args={"disc_strat": 5}, verbose=True)
    with pytest.raises(ConfigError) as error:
        convert_param_json(file)
    text = str(error.value)
    assert "3 mistakes" in text
    assert "unknown key `train_args.disc_strat`; did you mean `train_args.disc_start`?" in text
    assert "unknown key `verbose`" in text
    assert "unknown `model_type`: VQVAE3" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data_args": {"batch_size": "many"}}, "`data_args.batch_size` must be like 4"),
        ({"use_images": "yes"}, "`use_images` must be true or false"),
        ({"train_args": {"lr": -1}}, "train.optimizer.lr"),
        ({"scaling_rates": [3]}, "codec.rates"),
    ],
)
def test_values_that_no_setting_takes(tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words) as error:
        spec_of(params(tmp_path / "p.json", **changes))
    assert "p.json:1" in str(error.value)


def test_without_a_target_it_goes_to_standard_output(file, capsys):
    workflow.convert(file, None)
    out = capsys.readouterr().out
    assert out.startswith("# Converted from param.json\n#\n#   anycodec train run.yaml")
    assert "codec:\n  type: vqvae2" in out
