"""Importers of the 2-D autoencoders name what does not fit, and import nothing."""

import pytest
import torch

from anycodec.errors import WeightsError
from anycodec.torch.importers import make_importer
from parity.goldens import imported, load_golden

CASES = {
    "taming": ("01_taming_vqmodel", {}),
    "diffusers": ("08_diffusers_vqmodel", {"norm_num_groups": 8}),
    "lightningdit-vavae": ("07_vavae_autoencoder", {}),
    "dome272": ("09_dome272_vqgan", {}),
}
every_source = pytest.mark.parametrize("source", CASES)


@pytest.fixture
def case(source):
    name, config = CASES[source]
    return load_golden(name)[0], config


def refused(source, weights, config, match):
    with pytest.raises(WeightsError, match=match):
        make_importer(source).codec_tensors(weights, config)


@every_source
def test_missing_tensors_are_listed(source, case):
    weights, config = case
    biases = [name for name in weights if name.endswith("decoder.conv_out.bias") or ".model.11.bias" in name]
    assert len(biases) == 1
    del weights[biases[0]]
    refused(source, weights, config, rf"1 missing: {biases[0].removeprefix('vqgan.')}")


@every_source
def test_any_missing_tensor_is_a_named_error(source, case):
    weights, config = case
    for name in [n for n in weights if not n.startswith("discriminator.")]:
        rest = {key: tensor for key, tensor in weights.items() if key != name}
        refused(source, rest, config, "missing|unknown|lack|do not follow each other")


@every_source
def test_unknown_tensors_are_listed(source, case):
    weights, config = case
    refused(source, weights | {"encoder.extra": torch.ones(2)}, config, r"1 unknown: encoder\.extra")


@every_source
def test_other_shapes_are_listed(source, case):
    weights, config = case
    name = "quant_conv.weight" if source != "dome272" else "vqgan.quant_conv.weight"
    refused(
        source, weights | {name: torch.ones(7, 9, 1, 1)}, config, r"1 of another shape: quant_conv\.weight"
    )


@pytest.mark.parametrize("broken", [torch.ones(()), torch.ones(3), torch.ones(0, 3, 3, 3)], ids=str)
@every_source
def test_shapes_that_are_no_layers(source, case, broken):
    weights, config = case
    stem = "encoder.conv_in.weight" if source != "dome272" else "vqgan.encoder.model.0.weight"
    refused(source, weights | {stem: broken}, config, r"not that of a layer")


@every_source
def test_weights_of_something_else(source, case):
    refused(source, {"transformer.h.0.attn.weight": torch.ones(2, 2)}, {}, "another implementation")


def test_the_configuration_is_compared():
    weights, _ = load_golden("01_taming_vqmodel")
    fitting = {"ddconfig": {"ch": 32, "ch_mult": [1, 2], "resolution": 16}, "n_embed": 24, "embed_dim": 6}
    found = make_importer("taming").codec_tensors(weights, {"model": {"params": fitting}})
    assert found.data.window.size == (16, 16)
    other = {"model": {"params": fitting | {"n_embed": 1024}}}
    refused("taming", weights, other, "n_embed is 1024 in the configuration, 24 in the weights")


def test_diffusers_settings_that_change_the_numbers():
    weights, _ = load_golden("08_diffusers_vqmodel")
    refused("diffusers", weights, {}, "32 groups of GroupNorm don't divide")
    config = {"norm_num_groups": 8}
    refused("diffusers", weights, config | {"act_fn": "gelu"}, "act_fn 'gelu' is not supported")
    refused("diffusers", weights, config | {"latent_channels": 5}, "latent_channels is 5 in the config")


def test_parts_of_training_are_left_out():
    weights, _ = load_golden("01_taming_vqmodel")
    codec = imported("taming", weights | {"loss.discriminator.main.0.weight": torch.ones(4)})
    assert not any("discriminator" in name for name in codec.state_dict())
