"""Layers and the start of codebooks, each against its definition."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dct
from sklearn.cluster import KMeans

from anycodec.torch.layers.attention import Attention2d
from anycodec.torch.layers.conv1d import Conv1d, Upsample1d
from anycodec.torch.layers.norm import group_norm
from anycodec.torch.layers.patch import PatchPath, low_frequencies
from anycodec.torch.quantizers import kmeans as kmeans_module
from anycodec.torch.quantizers.kmeans import kmeans
from anycodec.torch.quantizers.search import nearest


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


@given(kernel=st.integers(1, 9), stride=st.integers(1, 5), tokens=st.integers(1, 6))
def test_conv1d_keeps_one_sample_in_stride(kernel, stride, tokens):
    x = torch.randn(2, 3, tokens * stride)
    layer = Conv1d(3, 5, kernel, stride=stride)
    with torch.no_grad():
        out = layer(x[:, :, None])
        total = max(kernel - stride, 0)
        padded = F.pad(x, (total // 2, total - total // 2))
        expected = F.conv1d(padded, layer.weight, layer.bias, stride=stride)
    assert out.shape == (2, 5, 1, tokens)
    torch.testing.assert_close(out[:, :, 0], expected, atol=1e-5, rtol=1e-5)


def test_upsample1d_interleaves_channels_along_time():
    """Channel f * O + o of the convolution becomes channel o at time t * factor + f."""
    layer = Upsample1d(1, 2, 3)
    with torch.no_grad():
        layer.conv.weight.zero_()
        layer.conv.bias.copy_(torch.arange(6.0))
        out = layer(torch.zeros(1, 1, 1, 4))
    assert out.shape == (1, 2, 1, 12)
    torch.testing.assert_close(out[0, 0, 0], torch.tensor([0.0, 2.0, 4.0] * 4))
    torch.testing.assert_close(out[0, 1, 0], torch.tensor([1.0, 3.0, 5.0] * 4))


@pytest.mark.parametrize(
    ("channels", "groups", "expected"), [(64, 32, 32), (48, 32, 24), (100, 32, 25), (7, 32, 7), (5, 2, 1)]
)
def test_group_norm_lowers_its_groups(channels, groups, expected):
    layer = group_norm(channels, groups)
    assert (layer.num_groups, layer.eps) == (expected, 1e-6)


@pytest.mark.parametrize("shape", [(3, 32, 32, 32), (2, 64, 1, 300), (1, 48, 24, 16)], ids=str)
def test_group_norm_in_bf16_channels_last_equals_that_of_float64(shape):
    """Values and gradients within the rounding of bf16; those of the parameters within that of float32."""
    layer = group_norm(shape[1], 8)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x, dy = 3 + torch.randn(shape).bfloat16(), torch.randn(shape).bfloat16()
    found, exact = [], []
    for results, dtype, memory in (
        (found, torch.bfloat16, torch.channels_last),
        (exact, torch.float64, torch.contiguous_format),
    ):
        z = x.to(dtype).contiguous(memory_format=memory).requires_grad_()
        parameters = [
            p.detach().to(torch.promote_types(dtype, p.dtype)).requires_grad_()
            for p in (layer.weight, layer.bias)
        ]
        state = dict(zip(("weight", "bias"), parameters, strict=True))
        y = torch.func.functional_call(layer, state, (z,))
        y.backward(dy.to(dtype).contiguous(memory_format=memory))
        results += [y, z.grad, *(p.grad for p in parameters)]
    assert type(found[0].grad_fn).__name__ == "_ChannelsLastGroupNormBackward"
    for ours, theirs, tolerance in zip(found, exact, (0.01, 0.01, 1e-5, 1e-5), strict=True):
        difference = (ours.double() - theirs).abs().max()
        assert difference <= tolerance * theirs.abs().max()


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format], ids=str)
def test_group_norm_in_float32_is_that_of_torch(memory):
    layer = group_norm(32, 8)
    x = torch.randn(2, 32, 32, 32).contiguous(memory_format=memory)
    assert torch.equal(layer(x), F.group_norm(x, 8, layer.weight, layer.bias, 1e-6))


def test_group_norm_takes_a_single_position_of_a_single_sample():
    """One value a group: it is its own mean, so only the bias is left."""
    layer = group_norm(8, 8)
    torch.nn.init.normal_(layer.bias)
    y = layer.train()(torch.randn(1, 8, 1, 1))
    torch.testing.assert_close(y[0, :, 0, 0], layer.bias, atol=1e-3, rtol=0)


def test_attention_equals_the_softmax_formula():
    layer = Attention2d(8, 4)
    x = torch.randn(2, 8, 3, 5)
    with torch.no_grad():
        h = layer.norm(x)
        q, k, v = (part(h).reshape(2, 8, 15) for part in (layer.q, layer.k, layer.v))
        weights = torch.softmax(torch.einsum("bci,bcj->bij", q, k) / 8**0.5, dim=-1)
        attended = torch.einsum("bij,bcj->bci", weights, v).reshape(x.shape)
        torch.testing.assert_close(layer(x), x + layer.proj_out(attended), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("stride", "size"), [((6,), (24,)), ((2, 3), (8, 15))], ids=["1d", "2d"])
@pytest.mark.parametrize("dim", [12, 20])
def test_patches_come_back(stride, size, dim):
    """2 channels x 6 values a patch: 12 latent channels or more hold it without loss."""
    path = PatchPath(2, dim, stride)
    x = torch.randn(3, 2, *size)
    with torch.no_grad():
        z = path.analyse(x)
        torch.testing.assert_close(path.synthesise(z), x, atol=1e-5, rtol=0)
    assert z.shape == (3, dim, *(s // f for s, f in zip(size, stride, strict=True)))
    torch.testing.assert_close(z.square().sum(), x.square().sum())


def test_a_patch_lands_in_its_latent():
    path = PatchPath(1, 6, (2, 3))
    x = torch.zeros(1, 1, 4, 9)
    x[0, 0, 2:4, 6:9] = 1
    with torch.no_grad():
        assert path.analyse(x).abs().sum(dim=1).nonzero().tolist() == [[0, 1, 2]]


def test_low_frequencies_are_those_of_the_discrete_cosine_transform():
    """Beside SciPy's: the lowest rows of the orthonormal DCT-II of two axes, in rising order."""
    found = low_frequencies((2, 4), 5).double()
    first, second = (torch.from_numpy(dct(np.eye(n), axis=0, norm="ortho")) for n in (2, 4))
    waves = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)]
    expected = torch.stack([torch.outer(first[i], second[k]).flatten() for i, k in waves])
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)


def test_a_path_of_low_frequencies_keeps_smooth_pictures():
    """8 of 64 values keep 90 % of the energy of a ramp, of which random directions keep an eighth."""
    path = PatchPath(1, 8, (8, 8))
    ramp = torch.linspace(-1, 1, 8).view(1, 1, 8, 1) + 0.3 * torch.linspace(-1, 1, 8)
    kept = []
    for _ in range(2):
        left = ramp - path.synthesise(path.analyse(ramp))
        kept.append(1 - float(left.square().sum() / ramp.square().sum()))
        path.start_with_low_frequencies()
    assert kept[0] < 0.5
    assert kept[1] > 0.9


def test_kmeans_is_as_good_as_scikit_learn():
    samples = torch.randn(2000, 3)
    codes, share = kmeans(samples, 40, iterations=20)
    theirs = KMeans(40, init="random", n_init=1, max_iter=20, random_state=0).fit(samples.numpy())
    inertia = (samples - codes[nearest(samples, codes)]).square().sum()
    assert inertia < 1.1 * theirs.inertia_
    assert share.sum().item() == pytest.approx(1, abs=1e-6)


def test_kmeans_leaves_no_code_without_samples():
    """Two far heaps of unequal size and many codes: empty clusters restart until all have samples."""
    samples = torch.cat([torch.randn(990, 2), 100 + torch.randn(10, 2)])
    codes, _ = kmeans(samples, 50, iterations=30)
    assert len(nearest(samples, codes).unique()) == 50


def test_kmeans_looks_at_enough_samples_only(monkeypatch):
    seen = []
    monkeypatch.setattr(kmeans_module, "nearest", lambda z, codes: seen.append(len(z)) or nearest(z, codes))
    kmeans(torch.randn(5000, 2), 4, iterations=2)
    assert seen == [4 * 256] * 2


def test_kmeans_of_equal_samples_is_finite():
    with pytest.warns(UserWarning, match="8 codes start from 5 latents"):
        codes, _ = kmeans(torch.ones(5, 3), 8, iterations=3)
    torch.testing.assert_close(codes, torch.ones(8, 3))
