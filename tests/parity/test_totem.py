"""Our totem with TOTEM's weights gives TOTEM's latents, tokens, series and gradients."""

import pytest
import torch
from safetensors.torch import load_file

from anycodec.config.codec import TotemSpec
from anycodec.config.data import RevinSpec
from anycodec.config.quantizer import VqSpec
from anycodec.data.normalize import Segment, make_normalizer
from anycodec.errors import WeightsError
from anycodec.torch.codecs import make_codec
from anycodec.torch.importers import make_importer
from anycodec.torch.layers.affine import ChannelAffine
from anycodec.types import SignalInfo
from parity.goldens import GOLDEN, assert_equal_to_scale, imported, load_golden

FACTORS = (4, 8, 12, 16)


@pytest.fixture(params=FACTORS)
def case(request):
    weights, io = load_golden(f"02_totem_vqvae_cf{request.param}")
    return imported("totem", weights), io


def test_forward(case):
    codec, io = case
    x = io["in.x"][:, None]
    out = codec(x)
    assert_equal_to_scale(codec.encoder(x), io["out.z"])
    assert_equal_to_scale(codec.latents(x), io["out.z_q"])
    assert torch.equal(out.tokens[0], io["out.indices"])
    assert_equal_to_scale(out.reconstruction[:, 0], io["out.recon"])
    assert_equal_to_scale(sum(out.losses.values()), io["out.vq_loss"])
    assert_equal_to_scale(out.stats["perplexity"], io["out.perplexity"])


def test_a_batch_of_one_keeps_its_axes(case):
    codec, io = case
    out = codec(io["in.x"][:1, None])
    assert_equal_to_scale(out.reconstruction, io["out.recon"][:1, None])


def test_gradients(case):
    codec, io = case
    x = io["in.x"][:, None].requires_grad_()
    out = codec(x)
    ((out.reconstruction[:, 0] * io["in.R"]).sum() + sum(out.losses.values())).backward()
    assert_equal_to_scale(x.grad[:, 0], io["out.grad_x"])
    assert_equal_to_scale(codec.quantizer.codebook.grad, io["out.grad_codebook"])
    assert_equal_to_scale(codec.encoder.down[0].weight.grad, io["out.grad_encoder_conv_1_weight"])


def test_a_training_step(case):
    codec, io = case
    optimizer = torch.optim.Adam(codec.parameters(), lr=1e-3)
    x = io["in.x"][:, None]
    out = codec.train()(x)
    (torch.nn.functional.mse_loss(out.reconstruction, x) + sum(out.losses.values())).backward()
    assert_equal_to_scale(codec.quantizer.codebook.grad, io["out.train.grad_codebook"])
    assert_equal_to_scale(codec.decoder.conv_in.weight.grad, io["out.train.grad_decoder_conv_1_weight"])
    optimizer.step()
    assert_equal_to_scale(codec.quantizer.codebook, io["out.train.codebook_after_adam_step"])
    assert_equal_to_scale(codec.encoder.down[0].weight, io["out.train.encoder_conv_1_weight_after_adam_step"])


@pytest.mark.parametrize(
    ("widths", "counts"),
    [
        (
            {"hidden_channels": 128, "latent_channels": 64, "res_channels": 64},
            (296_001, 427_329, 443_713, 558_657),
        ),
        (
            {"hidden_channels": 64, "latent_channels": 32, "res_channels": 32},
            (78_369, 111_265, 115_361, 144_161),
        ),
    ],
    ids=["published", "patch variant"],
)
def test_published_sizes(widths, counts):
    found = []
    for factor in FACTORS:
        spec = TotemSpec(compression_factor=factor, quantizer=VqSpec(codebook_size=256), **widths)
        found.append(sum(p.numel() for p in make_codec(spec, in_channels=1).parameters()))
    assert tuple(found) == counts


def test_other_tensors_are_refused_by_name():
    weights, _ = load_golden("02_totem_vqvae_cf8")
    weights["encoder._conv_9.weight"] = weights.pop("encoder._conv_3.bias")
    with pytest.raises(WeightsError) as raised:
        make_importer("totem").codec_tensors(weights, None)
    assert "1 missing: encoder._conv_3.bias" in str(raised.value)
    assert "1 unknown: encoder._conv_9.weight" in str(raised.value)


def test_a_contradicting_configuration_is_refused():
    weights, _ = load_golden("02_totem_vqvae_cf8")
    config = {"vqvae_config": {"compression_factor": 4, "embedding_dim": 6}}
    with pytest.raises(WeightsError, match="compression_factor is 4 in the configuration, 8 in the weights"):
        make_importer("totem").codec_tensors(weights, config)


@pytest.mark.parametrize("variant", ["", "_affine", "_last"])
def test_revin_is_the_published_one(variant):
    """Its statistics are the normalizer's, its learned part is the codec's."""
    folder = GOLDEN / f"02_totem_revin{variant}"
    io = load_file(folder / "io.safetensors")
    x, y = (io[name].transpose(1, 2) for name in ("in.x", "in.y"))  # [B C T]
    affine = ChannelAffine(x.shape[1])
    if variant:
        weights = load_file(folder / "weights.safetensors")
        affine.load_state_dict(
            {"gamma": weights["affine_weight"][:, None], "beta": weights["affine_bias"][:, None]}
        )
    info = SignalInfo(id="", axes="TC", shape=(x.shape[2], x.shape[1]), dtype="float32")
    revin = make_normalizer(RevinSpec(center="last" if variant == "_last" else "mean"))
    statistics = revin.statistics(Segment(info, x[0].T.numpy(), x.numpy()))

    def restored(values):
        return torch.from_numpy(revin.invert(affine.inverse(values).detach().numpy(), statistics))

    assert_equal_to_scale(torch.from_numpy(statistics.shift), io["out.center"][:, 0])
    assert_equal_to_scale(torch.from_numpy(statistics.scale), io["out.stdev"][:, 0])
    normalised = affine(torch.from_numpy(revin.apply(x.numpy(), statistics)))
    assert_equal_to_scale(normalised, io["out.norm"].transpose(1, 2))
    assert_equal_to_scale(restored(y), io["out.denorm_y"].transpose(1, 2))
    assert_equal_to_scale(restored(normalised), io["out.roundtrip"].transpose(1, 2))
    (normalised * io["in.R"].transpose(1, 2)).sum().backward()
    if variant:
        assert_equal_to_scale(affine.gamma.grad[:, 0], io["out.grad_affine_weight"])
        assert_equal_to_scale(affine.beta.grad[:, 0], io["out.grad_affine_bias"])
