"""What totem, vqvae2 and dvae do beyond the contract of codecs."""

import pytest
import torch
from pydantic import ValidationError

from anycodec.config.codec import DvaeSpec, TotemSpec, Vqvae2Spec
from anycodec.config.data import TableSource, Window1d
from anycodec.config.quantizer import EmaSpec, FsqSpec, GroupedSpec, VqSpec
from anycodec.config.run import RunSpec, cross_check
from anycodec.errors import UserError
from anycodec.torch.codecs import make_codec

SMALL_TOTEM = {"hidden_channels": 8, "res_channels": 4, "latent_channels": 4}
SMALL_VQVAE2 = {"hidden_channels": 8, "res_channels": 4, "latent_channels": 4}
VQ = VqSpec(codebook_size=16, kmeans_init=False)


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("factor", [4, 8, 12, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("patch", [None, 48])
@pytest.mark.parametrize("per_channel", [False, True])
def test_totem_keeps_the_length_of_every_window(factor, channels, patch, per_channel):
    spec = TotemSpec(
        compression_factor=factor, patch=patch, per_channel=per_channel, quantizer=VQ, **SMALL_TOTEM
    )
    codec = make_codec(spec, channels).eval()
    x = torch.randn(1, channels, 96)
    out = codec(x)
    assert out.reconstruction.shape == x.shape
    assert out.tokens[0].shape == (1, 96 // factor)
    assert torch.equal(codec.decode(out.tokens), out.reconstruction)


def test_patches_do_not_see_each_other():
    codec = make_codec(TotemSpec(patch=16, quantizer=VQ, **SMALL_TOTEM), 1).eval()
    x = torch.randn(2, 1, 64)
    y = x.clone()
    y[:, :, 16:32] += 5
    one, two = codec(x), codec(y)
    same = torch.ones(64, dtype=torch.bool)
    same[16:32] = False
    torch.testing.assert_close(one.reconstruction[..., same], two.reconstruction[..., same])
    assert not torch.equal(one.tokens[0], two.tokens[0])
    alone = codec(x.reshape(8, 1, 16))
    torch.testing.assert_close(alone.reconstruction.reshape(2, 1, 64), one.reconstruction)


def test_each_channel_can_have_a_codebook():
    grouped = GroupedSpec(groups=3, quantizer=VQ)
    codec = make_codec(TotemSpec(per_channel=True, quantizer=grouped, **SMALL_TOTEM), 3).eval()
    x = torch.randn(2, 3, 32)
    y = x.clone()
    y[:, 1] += 5
    one, two = codec(x), codec(y)
    assert codec.codebook_sizes == (16, 16, 16)
    for channel in (0, 2):
        assert torch.equal(one.tokens[channel], two.tokens[channel])
        torch.testing.assert_close(one.reconstruction[:, channel], two.reconstruction[:, channel])
    assert not torch.equal(one.tokens[1], two.tokens[1])


def test_channels_share_the_networks():
    codec = make_codec(TotemSpec(per_channel=True, quantizer=VQ, **SMALL_TOTEM), 5)
    one = make_codec(TotemSpec(quantizer=VQ, **SMALL_TOTEM), 1)
    sizes = [sum(p.numel() for p in c.encoder.parameters()) for c in (codec, one)]
    assert sizes[0] == sizes[1]


def test_a_learned_affine_leads_in_and_out():
    """x -> (f(gamma x + beta) - beta) / gamma, f the codec without it."""
    spec = TotemSpec(affine=True, quantizer=VQ, **SMALL_TOTEM)
    codec = make_codec(spec, 2).eval()
    x = torch.randn(3, 2, 32)
    inner = codec(2 * x + 1).reconstruction
    with torch.no_grad():
        codec.affine.gamma.fill_(2)
        codec.affine.beta.fill_(1)
    out = codec(x)
    torch.testing.assert_close(out.reconstruction, (inner - 1) / 2)
    out.reconstruction.sum().backward()
    assert codec.affine.gamma.grad.abs().min() > 0


@pytest.mark.parametrize("rates", [(2,), (4, 2), (8, 4, 2), (2, 2, 2, 2)])
def test_any_number_of_levels(rates):
    spec = Vqvae2Spec(rates=rates, quantizer=VQ, **SMALL_VQVAE2)
    codec = make_codec(spec, 3).eval()
    side = 2 * spec.stride[0]
    out = codec(torch.randn(1, 3, side, side))
    assert len(out.tokens) == len(rates)
    covered = 1
    for rate, grid in zip(rates, out.tokens, strict=True):
        covered *= rate
        assert grid.shape == (1, side // covered, side // covered)


def test_every_level_can_have_its_quantizer():
    quantizers = (EmaSpec(codebook_size=8), GroupedSpec(groups=2, quantizer=VQ), FsqSpec(levels=(3, 3)))
    spec = Vqvae2Spec(rates=(2, 2, 2), level_quantizers=quantizers, **SMALL_VQVAE2)
    assert spec.codebook_sizes == (8, 16, 16, 9)
    assert spec.token_strides == ((2, 2), (4, 4), (4, 4), (8, 8))
    assert spec.bottleneck == "ema, grouped, fsq"
    codec = make_codec(spec, 1).eval()
    x = torch.randn(2, 1, 16, 16)
    out = codec(x)
    assert [grid.shape[1] for grid in out.tokens] == [8, 4, 4, 2]
    assert {"perplexity", "perplexity_0", "perplexity_3"} <= out.stats.keys()
    assert torch.equal(codec.decode(out.tokens), out.reconstruction)


def test_a_finer_level_sees_the_coarser_codes():
    """The same picture with other codes on top gets other codes below, and another picture."""
    codec = make_codec(Vqvae2Spec(rates=(2, 2), quantizer=VQ, **SMALL_VQVAE2), 1).eval()
    with torch.no_grad():
        for quantizer in codec.quantizers:
            quantizer.codebook.normal_()
    tokens = codec.encode(torch.randn(1, 1, 16, 16))
    other = (tokens[0], (tokens[1] + 1) % 16)
    assert not torch.allclose(codec.decode(tokens), codec.decode(other))


def test_all_levels_start_from_their_latents():
    """After the start, and before training, most codes of each level are near some latents."""
    spec = Vqvae2Spec(rates=(2, 2), quantizer=EmaSpec(codebook_size=16), **SMALL_VQVAE2)
    codec = make_codec(spec, 1)
    codec.start(torch.randn(16, 1, 16, 16) for _ in range(10))
    assert all(quantizer.latents_wanted == 0 for quantizer in codec.quantizers)
    assert all(module.training for module in codec.modules())
    with torch.no_grad():
        stats = codec(torch.randn(32, 1, 16, 16)).stats
    assert stats["codes_used_0"] > 0.9
    assert stats["codes_used_1"] > 0.9


def test_one_token_on_top_cannot_be_trained_on():
    codec = make_codec(Vqvae2Spec(rates=(2, 2), quantizer=VQ, **SMALL_VQVAE2), 1)
    with pytest.raises(UserError, match="one token on the coarsest level"):
        codec(torch.randn(1, 1, 4, 4))
    assert codec.eval()(torch.randn(1, 1, 4, 4)).reconstruction.shape == (1, 1, 4, 4)


def test_dvae_scales_its_branches_by_the_depth():
    """The gain of a branch is 1 / blocks^2."""
    codec = make_codec(DvaeSpec(group_count=3, base_channels=8, res_blocks=2, latent_channels=4), 1)
    assert codec.encoder.groups[0][0].gain == pytest.approx(1 / 36)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (TotemSpec, {"hidden_channels": 7}, "use 8"),
        (
            TotemSpec,
            {"compression_factor": 12, "patch": 16},
            "12 does not divide patch 16: use a patch of 24",
        ),
        (TotemSpec, {"compression_factor": 5}, "4, 8, 12 or 16"),
        (Vqvae2Spec, {"rates": (4, 3)}, "2, 4, 8, 16 or 32"),
        (Vqvae2Spec, {"hidden_channels": 9}, "use 10"),
        (Vqvae2Spec, {"rates": (4, 2, 2), "level_quantizers": (VQ, VQ)}, "has 2 entries and rates 3"),
    ],
)
def test_mistakes_are_found_in_the_configuration(kind, settings, message):
    with pytest.raises(ValidationError, match=message):
        kind(**settings)


def test_a_window_that_is_no_whole_number_of_patches_is_found_in_the_configuration():
    data = TableSource(window=Window1d(samples=72))
    ((key, error),) = cross_check(RunSpec(data=data, codec=TotemSpec(patch=16)))
    assert key == "data.window"
    assert "64 or 80" in str(error)
