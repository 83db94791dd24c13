"""docs/coming-from.md names settings that exist, and every option of the systems it is about."""

import re
from pathlib import Path

import pytest

from anycodec.config.loader import config_keys
from anycodec.config.param_json_keys import KNOWN, MODELS

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
TYPES: dict[str, str] = {}
for known in config_keys():  # data[type=image].mode, losses.<name>.weight
    plain = re.sub(r"\[[^]]*\]", "", known.key).replace("<name>", "NAME")
    TYPES[plain] = f"{TYPES.get(plain, '')} | {known.type}"
ROWS = re.findall(r"^\| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
HERE = [word for _, here in ROWS for word in re.findall(r"`([^`]+)`", here)]
SETTINGS = sorted({word for word in HERE if re.match(r"[a-z0-9_]+(\.[A-Za-z0-9_]+)+(=|$)", word)})

FLAGS = {
    "Time-series VQ-VAEs (`vqvae_train.py`, TOTEM)": "dset context_points batch_size scaler features "
    "patch_size embedding_dim num_embeddings compression_factor block_hidden_size num_residual_layers "
    "res_hidden_size commitment_cost n_epochs lr weight_decay revin amp save_path model_id",
    "VQ-GAN and LDM for micro-Doppler (`train_vqvae.py`)": "data_dir output_dir batch_size image_size "
    "epochs lr disc_lr in_channels out_channels latent_channels num_vq_embeddings block_out_channels "
    "layers_per_block reconstruction_loss_weight perceptual_loss_weight g_loss_adv_weight "
    "vq_embed_loss_weight gradient_penalty_weight save_epochs logging_steps use_wandb wandb_project "
    "wandb_name vqgan_path",
    "VA-VAE for micro-Doppler": "data_dir output_dir input_dir train_ratio val_ratio image_extensions "
    "original_vavae batch_size lr max_epochs kl_weight precision accelerator devices strategy "
    "condition_dim checkpoint_dir latent_dir dit_checkpoint vavae_config skip_extract skip_train "
    "skip_generate force_retrain user_ids num_samples_per_user",
    "SimVQ for nanopore signals (`train_config.colab.json`)": "config steps val-every ckpt-dir target",
}
"""The flags that each system documents."""


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_and_their_choices_exist(setting):
    key, _, value = setting.partition("=")
    assert any(known == key or known.startswith(f"{key}.") for known in TYPES)
    if re.fullmatch("[a-z][a-z_0-9]*", value):
        assert value in TYPES[key].split(" | ")


@pytest.mark.parametrize("section", FLAGS)
def test_every_flag_is_listed(section):
    listed = set(re.findall(r"`--([\w-]+)`", SECTIONS[section]))
    assert set(FLAGS[section].split()) - listed == set()


@pytest.mark.parametrize("key", sorted(KNOWN))
def test_every_key_of_param_json_is_listed(key):
    section = SECTIONS["The VQ-VAE video system (`param.json`)"]
    assert re.search(rf"`(?:[a-z_]+\.)?{key.rpartition('.')[2]}`", section)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_video_system_is_listed(name):
    assert f"`{name}`" in SECTIONS["The VQ-VAE video system (`param.json`)"]
