"""Our VQGAN with taming-transformers' weights gives taming's latents, tokens, pictures and gradients."""

import pytest
import torch

from anycodec.config.codec import VqganSpec
from anycodec.config.quantizer import VqSpec
from anycodec.torch.codecs import make_codec
from parity.goldens import assert_equal_to_scale, load_golden, load_renamed


def half_names(half, levels, per_level, attention_levels):
    """Our names of an encoder or a decoder -> taming's."""
    coarse_to_fine = half == "decoder"
    names = {f"{half}.{part}": f"{half}.{part}" for part in ("conv_in", "norm_out", "conv_out")}
    names |= {f"{half}.mid.0": f"{half}.mid.block_1", f"{half}.mid.1": f"{half}.mid.attn_1"}
    names |= {f"{half}.mid.2": f"{half}.mid.block_2"}
    position = 0
    for level in reversed(range(levels)) if coarse_to_fine else range(levels):
        theirs = f"{half}.{'up' if coarse_to_fine else 'down'}.{level}"
        layer = 0
        for block in range(per_level):
            names[f"{half}.levels.{position}.{layer}"] = f"{theirs}.block.{block}"
            layer += 1
            if level in attention_levels:
                names[f"{half}.levels.{position}.{layer}"] = f"{theirs}.attn.{block}"
                layer += 1
        position += 1
        if level != (0 if coarse_to_fine else levels - 1):
            names[f"{half}.levels.{position}"] = f"{theirs}.{'upsample' if coarse_to_fine else 'downsample'}"
            position += 1
    shortcuts = {f"{ours}.shortcut": f"{theirs}.nin_shortcut" for ours, theirs in names.items()}
    return names | shortcuts


def taming_names(spec):
    levels = len(spec.channel_multipliers)
    return (
        half_names("encoder", levels, spec.res_blocks, spec.attention_levels)
        | half_names("decoder", levels, spec.res_blocks + 1, spec.attention_levels)
        | {
            "encoder.quant_conv": "quant_conv",
            "decoder.post_quant_conv": "post_quant_conv",
            "quantizer.codebook": "quantize.embedding.weight",
        }
    )


@pytest.fixture
def case():
    weights, io = load_golden("01_taming_vqmodel")
    spec = VqganSpec(
        base_channels=32,
        channel_multipliers=(1, 2),
        res_blocks=1,
        attention_levels=(1,),
        latent_channels=8,
        embed_channels=6,
        quantizer=VqSpec(codebook_size=24, beta=0.25, kmeans_init=False, restart_after=0),
    )
    codec = make_codec(spec, in_channels=3)
    load_renamed(codec, weights, taming_names(spec))
    return codec, io


def test_forward(case):
    codec, io = case
    out = codec.eval()(io["in.x"])
    assert_equal_to_scale(codec.encoder(io["in.x"]), io["out.z"])
    assert torch.equal(out.tokens[0], io["out.indices"])
    assert_equal_to_scale(out.reconstruction, io["out.recon"])
    assert_equal_to_scale(codec.decode(out.tokens), io["out.recon_from_indices"])
    assert_equal_to_scale(sum(out.losses.values()), io["out.loss.legacy_false"])
    assert_equal_to_scale(out.stats["perplexity"], io["out.perplexity"])


def test_gradients(case):
    """With beta on the commitment term, which taming calls `legacy = False`."""
    codec, io = case
    x = io["in.x"].requires_grad_()
    out = codec(x)
    ((out.reconstruction * io["in.R"]).sum() + sum(out.losses.values())).backward()
    assert_equal_to_scale(x.grad, io["out.grad_x.legacy_false"])
    assert_equal_to_scale(codec.quantizer.codebook.grad, io["out.grad_codebook.legacy_false"])
    assert_equal_to_scale(codec.encoder.quant_conv.weight.grad, io["out.grad_quant_conv_weight.legacy_false"])


def test_published_size():
    """f16 with z 256, without the 1x1 convolutions around the quantizer."""
    with torch.device("meta"):
        codec = make_codec(VqganSpec(), in_channels=3)

    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(codec.encoder) - count(codec.encoder.quant_conv) == 29_298_176
    assert count(codec.decoder) - count(codec.decoder.post_quant_conv) == 42_449_795
