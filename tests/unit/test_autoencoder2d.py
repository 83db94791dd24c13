"""Patches as channels in the 2-D autoencoders."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.codec import VqganSpec
from anycodec.config.data import ImageSource
from anycodec.config.quantizer import VqSpec
from anycodec.config.run import RunSpec
from anycodec.errors import RunError
from anycodec.torch.codecs.vqgan import Vqgan
from anycodec.torch.exporters.diffusers import export
from anycodec.torch.layers.autoencoder2d import Decoder2d, Encoder2d

SMALL = {
    "base_channels": 8,
    "channel_multipliers": (1, 2),
    "attention_levels": (),
    "mid_attention": False,
    "res_blocks": 1,
    "latent_channels": 6,
    "norm_groups": 4,
}


def spec(**settings: object) -> VqganSpec:
    return VqganSpec(**(SMALL | settings), quantizer=VqSpec(codebook_size=16))


def pictures(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_token_covers_the_patches_that_the_levels_merge() -> None:
    assert spec().stride == (2, 2)
    assert spec(patch_size=4).stride == (8, 8)
    assert spec(patch_size=3, channel_multipliers=(1, 2, 2)).stride == (12, 12)


def test_a_codec_with_patches_gives_pictures_of_their_own_size() -> None:
    codec = Vqgan(spec(patch_size=4), 3).eval()
    x = pictures(2, 3, 16, 24)
    (tokens,) = codec.encode(x)
    assert tokens.shape == (2, 2, 3)
    assert codec.decode((tokens,)).shape == x.shape


def test_patches_are_channels_in_the_order_of_pixel_unshuffle() -> None:
    """One weight for the whole patch picks the pixel it should: row 1, column 2 of colour 1."""
    with_patches = Encoder2d(spec(patch_size=4), 3, 6, nn.Identity()).eval()
    without = Encoder2d(spec(), 48, 6, nn.Identity()).eval()
    without.load_state_dict(with_patches.state_dict())
    x = pictures(1, 3, 16, 16)
    patches = torch.stack([x[:, c, r::4, s::4] for c in range(3) for r in range(4) for s in range(4)], dim=1)
    assert torch.allclose(with_patches(x), without(patches), atol=1e-6)


def test_the_decoder_puts_channels_back_where_the_encoder_takes_them() -> None:
    decoder = Decoder2d(spec(patch_size=4), 3).eval()
    z = pictures(1, 6, 2, 2)
    plain = Decoder2d(spec(), 48).eval()
    plain.load_state_dict(decoder.state_dict())
    assert torch.allclose(F.pixel_unshuffle(decoder(z), 4), plain(z), atol=1e-6)


def test_diffusers_has_no_patches() -> None:
    codec = spec(patch_size=4)
    run = RunSpec(data=ImageSource(root="pictures"), codec=codec)
    with pytest.raises(RunError, match="patch_size is 4, not 1"):
        export(Vqgan(codec, 3), run)
