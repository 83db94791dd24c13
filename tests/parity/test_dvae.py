"""Our dvae with the video system's weights gives its latents, tokens, pictures, gradients and averages."""

import pytest
import torch

from anycodec.config.codec import DvaeSpec
from anycodec.config.quantizer import VqSpec
from anycodec.errors import WeightsError
from anycodec.torch.codecs import make_codec
from anycodec.torch.importers import make_importer
from parity.goldens import assert_equal_to_scale, imported, load_golden


@pytest.fixture
def case():
    weights, io = load_golden("09_vqvaevideo_dalle")
    return imported("dalle", weights), io


@pytest.fixture(params=["eval", "train"])
def mode(request):
    return request.param


def test_forward(case, mode):
    codec, io = case
    out = codec.train(mode == "train")(io["in.x"])
    assert_equal_to_scale(codec.encoder(io["in.x"]), io[f"out.{mode}.z"])
    assert torch.equal(out.tokens[0], io[f"out.{mode}.indices"])
    assert_equal_to_scale(out.reconstruction, io[f"out.{mode}.recon"])
    assert_equal_to_scale(sum(out.losses.values()), io[f"out.{mode}.vq_loss"])
    assert_equal_to_scale(out.stats["perplexity"], io[f"out.{mode}.perplexity"])


def test_codes(case):
    codec, io = case
    assert_equal_to_scale(codec.latents(io["in.x"]), io["out.eval.z_q"])
    assert_equal_to_scale(codec.decode((io["out.eval.indices"],)), io["out.eval.recon"])


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_blocks(case, half):
    codec, io = case
    block = getattr(codec, half).groups[0][0]
    assert_equal_to_scale(block(io[f"out.{half}_block1_in"]), io[f"out.{half}_block1_out"])


def test_gradients(case, mode):
    codec, io = case
    codec.train(mode == "train")
    x = io["in.x"].requires_grad_()
    out = codec(x)
    ((out.reconstruction * io["in.R"]).sum() + sum(out.losses.values())).backward()
    assert_equal_to_scale(x.grad, io[f"out.{mode}.grad_x"])
    assert_equal_to_scale(codec.encoder.conv_in.weight.grad, io[f"out.{mode}.grad_encoder_input_conv"])


def test_averages_after_a_training_step(case):
    codec, io = case
    codec.train()(io["in.x"])
    assert_equal_to_scale(codec.quantizer.codebook, io["out.after.embedding"])
    assert_equal_to_scale(codec.quantizer.sums, io["out.after.ema_w"])


def test_averages_after_two_training_steps(case):
    """The published counts are stored smoothed, ours as they are: apart by K epsilon a step."""
    codec, io = case
    codec.train()(io["in.x"])
    codec(io["in.x"])
    assert_equal_to_scale(codec.quantizer.counts, io["out.after2.ema_cluster_size"], 1e-4)
    assert_equal_to_scale(codec.quantizer.codebook, io["out.after2.embedding"], 1e-4)


@pytest.mark.parametrize(
    ("group_count", "latent_channels", "encoder", "decoder"),
    [(4, 128, 14_418_048, 15_577_091), (5, 1024, 28_056_192, 30_164_611)],
)
def test_published_sizes(group_count, latent_channels, encoder, decoder):
    with torch.device("meta"):
        codec = make_codec(
            DvaeSpec(group_count=group_count, base_channels=256, latent_channels=latent_channels),
            in_channels=3,
        )
    assert sum(p.numel() for p in codec.encoder.parameters()) == encoder
    assert sum(p.numel() for p in codec.decoder.parameters()) == decoder


def test_a_codebook_without_averages_learns_by_gradient():
    weights, _ = load_golden("09_vqvaevideo_dalle")
    del weights["vq_vae.ema_w"], weights["vq_vae.ema_cluster_size"]
    found = make_importer("dalle").codec_tensors(weights, None)
    assert isinstance(found.spec.quantizer, VqSpec)


def test_other_tensors_are_refused_by_name():
    weights, _ = load_golden("09_vqvaevideo_dalle")
    weights["decoder.blocks.input.bias"] = weights.pop("decoder.blocks.output.conv.bias")
    with pytest.raises(WeightsError) as raised:
        make_importer("dalle").codec_tensors(weights, None)
    assert "1 missing: decoder.blocks.output.conv.bias" in str(raised.value)
    assert "1 unknown: decoder.blocks.input.bias" in str(raised.value)


def test_a_contradicting_configuration_is_refused():
    weights, _ = load_golden("09_vqvaevideo_dalle")
    with pytest.raises(WeightsError, match="vocab_size is 4096 in the configuration, 18 in the weights"):
        make_importer("dalle").codec_tensors(weights, {"model_args": {"vocab_size": 4096, "n_hid": 8}})
