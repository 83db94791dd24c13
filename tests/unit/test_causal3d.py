"""Causality and streaming of the causal video codec: the properties it is named for."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from anycodec.config.codecs.causal3d import Causal3dSpec
from anycodec.config.quantizer import EmaSpec, ResidualSpec, VqSpec
from anycodec.torch.codecs import make_codec
from anycodec.torch.codecs.causal3d import Causal3d
from anycodec.torch.layers.causal3d import CausalConv3d, CausalUpsample3d, FrameNorm, Past
from anycodec.torch.quantizers.differences import quantized_differences
from anycodec.workflows.levels import operating_points
from anycodec.workflows.pipeline import Pipeline

LATENT_FRAMES = 6
FRAMES = 4 * LATENT_FRAMES


def make(**changes: object) -> Causal3d:
    """A random codec of stride 4 x 8 x 8 whose tokens differ from place to place."""
    torch.manual_seed(1)
    settings = {
        "base_channels": 8, "stem_stride": 2, "channels": (8, 12), "time_strides": (2, 2),
        "space_strides": (2, 2), "res_blocks": 1, "mid_blocks": 1, "latent_channels": 6,
        "quantizer": VqSpec(codebook_size=64, kmeans_init=False),
    } | changes  # fmt: skip
    codec = make_codec(Causal3dSpec.model_validate(settings), 3).eval()
    assert isinstance(codec, Causal3d)
    with torch.no_grad():
        z = codec._latents(video()).movedim(1, -1).reshape(-1, codec.quantizer.codebook.shape[-1])
        codec.quantizer.codebook.copy_(z[torch.linspace(0, len(z) - 1, 64).long()])
    return codec


def video(seed: int = 0) -> Tensor:
    return torch.randn(2, 3, FRAMES, 16, 24, generator=torch.Generator().manual_seed(seed))


def cuts(chunks: list[int]) -> list[tuple[int, int]]:
    """[start, stop) of chunks of these sizes, repeated to the end, in token frames."""
    places = [0]
    while places[-1] < LATENT_FRAMES:
        places.append(min(LATENT_FRAMES, places[-1] + chunks[(len(places) - 1) % len(chunks)]))
    return list(pairwise(places))


@pytest.fixture(
    scope="module", params=[{}, {"patch_skip": True}, {"stem_stride": 1, "space_strides": (4, 2)}]
)
def codec(request: pytest.FixtureRequest) -> Causal3d:
    return make(**request.param)


def test_the_default_stride_is_4_frames_of_8_by_8() -> None:
    assert Causal3dSpec().stride == (4, 8, 8)
    assert Causal3dSpec().axes == "THW"


@torch.no_grad()
@pytest.mark.parametrize("chunks", [[1], [2], [3], [5], [1, 2, 3], [6]])
def test_chunks_give_what_the_whole_gives(codec: Causal3d, chunks: list[int]) -> None:
    x = video()
    (whole,) = codec.encode(x)
    assert len(whole.unique()) > 16
    past: Past = {}
    parts = [codec.encode_chunk(x[:, :, 4 * a : 4 * b], past)[0] for a, b in cuts(chunks)]
    assert torch.equal(torch.cat(parts, 1), whole)
    past = {}
    frames = [codec.decode_chunk((whole[:, a:b],), past) for a, b in cuts(chunks)]
    torch.testing.assert_close(torch.cat(frames, 2), codec.decode((whole,)), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@given(change_at=st.integers(1, FRAMES - 1), seed=st.integers(1, 99))
@settings(max_examples=10)
def test_the_future_changes_no_past_token(change_at: int, seed: int) -> None:
    codec = make()
    x, other = video(), video()
    other[:, :, change_at:] = video(seed)[:, :, change_at:]
    before = change_at // 4
    z, changed = codec._latents(x), codec._latents(other)
    torch.testing.assert_close(z[:, :, :before], changed[:, :, :before], atol=1e-5, rtol=1e-5)
    assert (z[:, :, before] - changed[:, :, before]).abs().max() > 1e-3, "the present counts"
    assert torch.equal(codec.encode(x)[0][:, :before], codec.encode(other)[0][:, :before])


@torch.no_grad()
@pytest.mark.parametrize("change_at", range(1, LATENT_FRAMES))
def test_later_tokens_change_no_earlier_frame(codec: Causal3d, change_at: int) -> None:
    (tokens,) = codec.encode(video())
    other = tokens.clone()
    other[:, change_at:] = (other[:, change_at:] + 7) % 64
    one, two = codec.decode((tokens,)), codec.decode((other,))
    torch.testing.assert_close(one[:, :, : 4 * change_at], two[:, :, : 4 * change_at], atol=1e-5, rtol=1e-5)
    assert (one[:, :, 4 * change_at :] - two[:, :, 4 * change_at :]).abs().max() > 1e-3


@torch.no_grad()
def test_a_still_video_has_the_same_tokens_in_every_frame() -> None:
    """Before its start a video counts as still, so a still one has no beginning."""
    codec = make()
    still = video()[:, :, :1].expand(-1, -1, FRAMES, -1, -1)
    (tokens,) = codec.encode(still)
    assert torch.equal(tokens, tokens[:, :1].expand_as(tokens))


@torch.no_grad()
def test_differences_refine_what_stands_still_from_frame_to_frame() -> None:
    """Each code is one of what is left, so that the latents' error falls as with residual stages."""
    codec = make(differences=True)
    torch.manual_seed(0)
    scale = torch.logspace(0, -1.5, 64)[:, None]
    codec.quantizer.codebook.copy_(scale * torch.randn_like(codec.quantizer.codebook))
    codec.quantizer.codebook[-1] = 0  # no change
    still = video()[:, :, :1].expand(-1, -1, FRAMES, -1, -1)
    z, y = codec._latents(still), codec.latents(still)
    errors = (z - y).square().sum(dim=1).mean(dim=(0, 2, 3))
    assert (errors.diff() <= 0).all()
    assert errors[-1] < 0.5 * errors[0]
    torch.testing.assert_close(codec.decode(codec.encode(still)), codec.decode_latents(y))


@pytest.mark.parametrize(("differences", "points"), [(False, (1, 2, 3)), (True, (3,))])
def test_stages_of_differences_are_stored_together(differences: bool, points: tuple[int, ...]) -> None:
    """The encoder subtracts what all stages restore: without the last ones, errors would add up."""
    stages = ResidualSpec(stages=3, quantizer=EmaSpec(codebook_size=16))
    spec = Causal3dSpec(differences=differences, quantizer=stages)
    pipeline = SimpleNamespace(codec=spec.quantizer, spec=SimpleNamespace(codec=spec))
    assert operating_points(cast(Pipeline, pipeline)) == points


def test_differences_leave_gradients_as_they_are() -> None:
    codec = make(differences=True).train()
    z = torch.randn(1, 6, 3, 2, 2, requires_grad=True)
    upstream = torch.randn_like(z)
    quantized_differences(codec.quantizer, z, {}).values.backward(upstream)
    torch.testing.assert_close(z.grad, upstream)


@torch.no_grad()
def test_the_past_stays_as_small_as_it_is(codec: Causal3d) -> None:
    past: Past = {}
    sizes = []
    for _ in range(5):
        codec.encode_chunk(video()[:, :, :8], past)
        sizes.append(sum(frames.untyped_storage().nbytes() for frames in past.values()))
    assert len(set(sizes)) == 1


@torch.no_grad()
def test_chunks_of_no_whole_stride_are_refused() -> None:
    with pytest.raises(ValueError, match="no multiple of the codec's stride"):
        make().encode_chunk(video()[:, :, :6], {})


@torch.no_grad()
def test_a_causal_convolution_sees_present_and_past() -> None:
    """y_t = x_t + 10 x_{t-1} + 100 x_{t-2}, and x_t = x_0 before the start."""
    conv = CausalConv3d(1, 1, (3, 1))
    conv.weight.copy_(torch.tensor([100.0, 10, 1]).view(1, 1, 3, 1, 1))
    conv.bias.zero_()
    x = torch.tensor([1.0, 2, 3, 4]).view(1, 1, 4, 1, 1)
    assert conv(x).flatten().tolist() == [111, 112, 123, 234]


@torch.no_grad()
def test_a_strided_convolution_keeps_the_grid_aligned() -> None:
    """Stride 2: frames (0, 1) give the first frame out, which sees no frame 2."""
    conv = CausalConv3d(1, 1, (3, 3), (2, 2))
    conv.weight.zero_()
    conv.weight[..., -1, 0, 0] = 1
    conv.bias.zero_()
    x = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 1, 4, 6, 6)
    y = conv(x)
    assert y.shape == (1, 1, 2, 3, 3)
    assert y[0, 0, :, 0, 0].tolist() == [1, 3]


@torch.no_grad()
def test_upsampling_interleaves_time_and_space() -> None:
    up = CausalUpsample3d(1, 1, (2, 2))
    up.conv.weight.zero_()
    up.conv.bias.copy_(torch.arange(8.0))
    y = up(torch.zeros(1, 1, 3, 2, 2))
    assert y.shape == (1, 1, 6, 4, 4)
    assert y[0, 0, 2:4, 2:, 2:].tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]


@torch.no_grad()
def test_frames_are_normalised_apart() -> None:
    x = torch.randn(2, 4, 3, 8, 8) * torch.tensor([1.0, 5, 100]).view(1, 1, 3, 1, 1) + 3
    y = FrameNorm(4, 2)(x)
    halves = y.reshape(2, 2, 2, 3, 64).transpose(2, 3).flatten(3)
    torch.testing.assert_close(halves.mean(-1), torch.zeros(2, 2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(halves.std(-1, correction=0), torch.ones(2, 2, 3), atol=1e-4, rtol=0)


def test_stages_that_differ_in_number_are_named() -> None:
    with pytest.raises(ValidationError, match="channels has 2 stages, time_strides 3 and space_strides 3"):
        Causal3dSpec(channels=(8, 8))
