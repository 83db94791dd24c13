"""The contract that every codec keeps, around every quantizer."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from anycodec.errors import ConfigError
from anycodec.torch.codecs import make_codec
from anycodec.torch.codecs.base import Autoencoder
from anycodec.torch.layers.hierarchy2d import ReZeroBlock
from contracts.specs import CODECS, QUANTIZERS, SMALL_CODECS, codec_spec, quantizers_of, type_of

every_codec = pytest.mark.parametrize("kind", CODECS, ids=type_of)
every_pair = pytest.mark.parametrize(
    ("kind", "quantizer"),
    [(kind, quantizer) for kind in CODECS for quantizer in quantizers_of(kind)],
    ids=type_of,
)
with_patches = pytest.mark.parametrize(
    "kind", [kind for kind in CODECS if "patch_skip" in kind.model_fields], ids=type_of
)
with_strides = pytest.mark.parametrize(
    "kind", [kind for kind in CODECS if "strides" in kind.model_fields], ids=type_of
)


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def networks_and_patch_path(kind):
    """Settings of a codec without and, where it can have one, with a path around its networks."""
    return [{}, {"patch_skip": True}] if "patch_skip" in kind.model_fields else [{}]


def windows(spec, tokens, channels=1, batch=2):
    """Random windows that give `tokens` tokens along each axis."""
    return torch.randn(batch, channels, *(tokens * f for f in spec.stride))


def test_every_codec_is_tested():
    assert set(SMALL_CODECS) == {type_of(kind) for kind in CODECS}


@every_codec
@given(tokens=st.integers(1, 5), batch=st.integers(1, 3), channels=st.integers(1, 3))
@settings(max_examples=12)
def test_output_is_as_long_as_input(kind, tokens, batch, channels):
    spec = codec_spec(kind)
    channels = 1 if kind.one_channel else channels
    codec = make_codec(spec, channels).eval()
    x = windows(spec, tokens, channels, batch)
    with torch.no_grad():
        grids = codec.encode(x)
        assert len(grids) == len(codec.codebook_sizes)
        assert codec.codebook_sizes == spec.codebook_sizes
        for grid, size, covered in zip(grids, spec.codebook_sizes, spec.token_strides, strict=False):
            assert grid.shape == (
                batch,
                *(tokens * f // c for f, c in zip(spec.stride, covered, strict=True)),
            )
            assert grid.min() >= 0
            assert grid.max() < size
        if grids:
            assert codec.decode(grids).shape == x.shape
        assert codec(x).reconstruction.shape == x.shape


@with_strides
@given(strides=st.lists(st.integers(1, 5), min_size=1, max_size=3), stem=st.integers(1, 4))
@settings(max_examples=15)
def test_any_strides(kind, strides, stem):
    spec = codec_spec(kind, strides=strides, channels=[8] * len(strides), stem_stride=stem)
    assert spec.stride == (stem * math.prod(strides),)
    x = windows(spec, 3)
    with torch.no_grad():
        out = make_codec(spec, 1)(x)
    assert out.reconstruction.shape == x.shape
    assert out.tokens[0].shape == (2, 3)


@every_pair
def test_decoding_gives_the_reconstruction(kind, quantizer):
    for options in networks_and_patch_path(kind):
        spec = codec_spec(kind, quantizer, **options)
        codec = make_codec(spec, 1).eval()
        x = windows(spec, 6)
        with torch.no_grad():
            out = codec(x)
            tokens = codec.encode(x)
            assert len(tokens) == len(out.tokens)
            assert all(torch.equal(a, b) for a, b in zip(tokens, out.tokens, strict=True))
            if tokens:
                assert torch.equal(codec.decode(tokens), out.reconstruction)
            if isinstance(codec, Autoencoder):
                assert torch.equal(codec.decode_latents(codec.latents(x)), out.reconstruction)


@every_pair
def test_gradients_reach_all_parameters(kind, quantizer):
    spec = codec_spec(kind, quantizer)
    codec = make_codec(spec, 1)
    for module in codec.modules():
        if isinstance(module, ReZeroBlock):
            torch.nn.init.ones_(module.gate)
    x = windows(spec, 6)
    out = codec(x)
    ((out.reconstruction - x).square().mean() + sum(out.losses.values())).backward()
    without = [name for name, p in codec.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # a bias before the softmax over positions shifts all scores alike
    assert [name for name in without if not name.endswith(".k.bias")] == []


@every_pair
def test_evaluation_changes_nothing(kind, quantizer):
    spec = codec_spec(kind, quantizer)
    codec = make_codec(spec, 1).eval()
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    if isinstance(codec, Autoencoder):
        codec.decode_latents(codec.latents(windows(spec, 4)))
    codec(windows(spec, 4))
    assert all(torch.equal(value, before[name]) for name, value in codec.state_dict().items())


@every_pair
def test_state_survives_safetensors(kind, quantizer):
    spec = codec_spec(kind, quantizer)
    codec = make_codec(spec, 1).eval()
    restored = make_codec(spec, 1).eval()
    restored.load_state_dict(load(save(codec.state_dict())))
    x = windows(spec, 4)
    with torch.no_grad():
        assert torch.equal(codec(x).reconstruction, restored(x).reconstruction)


@every_codec
def test_windows_of_a_batch_do_not_mix(kind):
    spec, channels = codec_spec(kind), 1 if kind.one_channel else 2
    codec = make_codec(spec, channels).eval()
    x = windows(spec, 4, channels=channels, batch=3)
    with torch.no_grad():
        together = codec(x).reconstruction
        alone = torch.cat([codec(x[i : i + 1]).reconstruction for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in CODECS if kind.one_channel], ids=type_of)
def test_a_codec_of_one_channel_says_so(kind):
    with pytest.raises(ConfigError, match=r"(?s)one channel, these have 2.*data\.channels=independent"):
        make_codec(codec_spec(kind), 2)


@every_codec
def test_a_window_that_the_stride_does_not_divide_is_refused(kind):
    spec = codec_spec(kind)
    x = torch.randn(1, 1, *(3 * f + 1 for f in spec.stride))
    with pytest.raises(ValueError, match="no multiple of the codec's stride"):
        make_codec(spec, 1).encode(x)


@every_codec
def test_a_window_with_a_foreign_number_of_axes_is_refused(kind):
    spec = codec_spec(kind)
    with pytest.raises(ValueError, match="no multiple of the codec's stride"):
        make_codec(spec, 1).encode(windows(spec, 2)[..., None])


@pytest.mark.parametrize(
    ("kind", "options"),
    [(kind, found) for kind in CODECS for found in networks_and_patch_path(kind)],
    ids=lambda value: ("patch path" if value else "networks") if isinstance(value, dict) else type_of(value),
)
def test_a_few_steps_learn(kind, options):
    """Sine waves along every axis: the error falls below a third of their variance."""
    spec = codec_spec(kind, **options)
    codec = make_codec(spec, 1)
    optimizer = torch.optim.Adam(codec.parameters(), lr=5e-3)
    tokens = 8 if len(spec.stride) < 3 else 5
    axes = [torch.arange(float(tokens * f)) for f in spec.stride]
    for _ in range(120):
        phase = 6.28 * torch.rand(8, 1, *(1 for _ in axes))
        x = torch.sin(phase + 0.3 * sum(torch.meshgrid(*axes, indexing="ij")))
        out = codec(x)
        error = (out.reconstruction - x).square().mean()
        optimizer.zero_grad()
        (error + sum(out.losses.values())).backward()
        optimizer.step()
    assert error.item() < 0.5 / 3


@with_patches
def test_a_patch_path_starts_as_quantisation_of_raw_patches(kind):
    """A window whose patches are those behind the codes comes back exactly."""
    vq = next(kind for kind in QUANTIZERS if type_of(kind) == "vq")
    spec = codec_spec(kind, vq, patch_skip=True, latent_channels=16)
    codec = make_codec(spec, 1).eval()
    patches = windows(spec, 1, batch=16)
    with torch.no_grad():
        codec.quantizer.codebook.copy_(codec.patches.analyse(patches).reshape(16, 16))
        x = patches[5].repeat(1, *(3 for _ in spec.stride))[None]
        torch.testing.assert_close(codec(x).reconstruction, x, atol=1e-5, rtol=0)
        assert codec.encode(x)[0].unique().tolist() == [5]


@every_codec
def test_nothing_but_a_linear_map_follows_the_last_layer(kind):
    """Equal steps of its weight move the reconstruction by equal amounts."""
    spec, channels = codec_spec(kind), 1 if kind.one_channel else 2
    codec = make_codec(spec, channels).eval()
    x, last = windows(spec, 3, channels=channels), codec.last_layer()
    assert any(last is parameter for parameter in codec.parameters())
    outputs, change = [], torch.randn_like(last)
    with torch.no_grad():
        for _ in range(3):
            outputs.append(codec(x).reconstruction)
            last += change
    first, second = outputs[1] - outputs[0], outputs[2] - outputs[1]
    assert first.abs().max() > 1e-3
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4 * float(first.abs().max()))
