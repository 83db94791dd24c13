"""The diffusion transformer: grids of any number of axes, its parts, what it starts as."""

import math

import pytest
import torch
from pydantic import ValidationError

from anycodec.config.generator import DitSpec
from anycodec.errors import UserError
from anycodec.torch.generators import make_generator
from anycodec.torch.generators.guidance import guided
from anycodec.torch.layers.adaptive_norm import AdaptiveNorm
from anycodec.torch.layers.patches import join_patches, split_patches
from anycodec.torch.layers.positions import rotate, rotations, sincos_positions
from anycodec.torch.layers.transformer import attend

SMALL = {"width": 48, "depth": 2, "heads": 4}
CLASSES = 3


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def dit(shape, **settings):
    """A generator without layers at zero, so that everything counts."""
    generator = make_generator(DitSpec(**(SMALL | settings)), shape, CLASSES)
    for layer in (generator.modulation, generator.out):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return generator


def inputs(shape, batch=3):
    return torch.randn(batch, *shape), torch.rand(batch), torch.arange(batch) % (CLASSES + 1)


GRIDS = {
    "series": ((5, 14), {}),
    "picture": ((4, 6, 10), {}),
    "patches": ((4, 6, 10), {"patch_size": 2}),
    "patched series": ((2, 12), {"patch_size": 3}),
    "clip": ((3, 4, 4, 6), {"patch_size": 2}),
    "qk norm, no shift": ((4, 4, 6), {"qk_norm": True, "shift": False}),
    "layer norm, gelu": ((4, 4, 6), {"norm": "layer", "swiglu": False, "rope": False}),
}


@pytest.mark.parametrize(("shape", "settings"), GRIDS.values(), ids=GRIDS)
class TestContract:
    def test_shape_and_gradients(self, shape, settings):
        generator = dit(shape, **settings)
        x, t, labels = inputs(shape, batch=CLASSES + 1)
        out = generator(x, t, labels)
        assert out.shape == x.shape
        out.square().mean().backward()
        without = [name for name, p in generator.named_parameters() if not p.grad.abs().max() > 0]
        assert without == []

    def test_starts_at_zero(self, shape, settings):
        generator = make_generator(DitSpec(**(SMALL | settings)), shape, CLASSES)
        assert not generator(*inputs(shape)).any()

    def test_samples_of_a_batch_do_not_mix(self, shape, settings):
        generator = dit(shape, **settings).eval()
        x, t, labels = inputs(shape)
        with torch.no_grad():
            together = generator(x, t, labels)
            alone = torch.cat([generator(x[i : i + 1], t[i : i + 1], labels[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)

    def test_time_label_and_every_position_count(self, shape, settings):
        generator = dit(shape, **settings).eval()
        x, t, labels = inputs(shape)
        with torch.no_grad():
            out = generator(x, t, labels)
            assert not torch.allclose(out, generator(x, t + 0.1, labels), atol=1e-4)
            assert not torch.allclose(out, generator(x, t, (labels + 1) % CLASSES), atol=1e-4)
            for axis in range(2, x.dim()):
                rolled = generator(x.roll(generator.patch_size, axis), t, labels)
                assert not torch.allclose(out.roll(generator.patch_size, axis), rolled, atol=1e-4)

    def test_checkpointing_changes_no_gradient(self, shape, settings):
        generator = dit(shape, **settings)
        given, gradients = inputs(shape), []
        for generator.gradient_checkpointing in (False, True):
            generator.zero_grad()
            generator(*given).square().mean().backward()
            gradients.append([p.grad.clone() for p in generator.parameters()])
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b)

    def test_bf16_stays_close(self, shape, settings):
        generator = dit(shape, **settings)
        given = inputs(shape)
        with torch.autocast("cpu", torch.bfloat16):
            out = generator(*given)
            out.float().square().mean().backward()
        expected = generator(*given)
        assert (out - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize(("size", "millions"), [("S", 33.0), ("B", 130.5), ("L", 458.1), ("XL", 675.1)])
def test_presets_have_the_published_numbers_of_parameters(size, millions):
    """DiT (arXiv 2212.09748, table 1), whose patches of 2 and sigma change less than 0.2 %; GELU as there."""
    with torch.device("meta"):
        generator = make_generator(DitSpec(size=size, swiglu=False, norm="layer"), (4, 16, 16), 1000)
    assert sum(p.numel() for p in generator.parameters()) / 1e6 == pytest.approx(millions, rel=0.005)


def test_latents_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"latents of \(4, 5\) for a generator of \(4, 6\)"):
        dit((4, 6))(*inputs((4, 5)))


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ({"patch_size": 2}, (4, 6, 5), r"patches of 2 do not cover a latent grid of \(6, 5\)"),
        ({"width": 24, "heads": 4}, (4, 6, 5), "2 axes of positions do not share a width of 24 in 4 heads"),
    ],
)
def test_latents_that_do_not_fit(settings, shape, message):
    with pytest.raises(UserError, match=message):
        make_generator(DitSpec(**(SMALL | settings)), shape, 1)


def test_heads_that_do_not_divide_the_width():
    with pytest.raises(ValidationError, match="width of 50 does not give 4 heads"):
        DitSpec(width=50, depth=1, heads=4)


class TestPatches:
    @pytest.mark.parametrize("shape", [(3, 12), (3, 4, 6), (3, 2, 4, 6)])
    def test_the_last_axis_runs_fastest(self, shape):
        x = torch.arange(2 * math.prod(shape)).view(2, *shape)
        first_pixels = split_patches(x, 2)[:, :, 0]
        expected = x[(slice(None), 0, *(slice(None, None, 2),) * (len(shape) - 1))]
        assert torch.equal(first_pixels, expected.flatten(1))

    @pytest.mark.parametrize(("grid", "p"), [((6,), 2), ((2, 3), 2), ((1, 2, 3), 3)])
    def test_joining_is_the_inverse_up_to_the_place_of_the_channel(self, grid, p):
        channels = 5
        x = torch.randn(2, channels, *(p * extent for extent in grid))
        tokens = split_patches(x, p).unflatten(2, (channels, -1)).transpose(2, 3).flatten(2)
        assert torch.equal(join_patches(tokens, p, grid), x)


class TestPositions:
    def test_of_a_row(self):
        table = sincos_positions((3,), 4)
        assert table[2].tolist() == pytest.approx([math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)])

    def test_columns_come_first(self):
        table = sincos_positions((2, 3), 8).view(2, 3, 8)
        assert torch.equal(table[0, :, :4], table[1, :, :4])
        assert torch.equal(table[:, 0, 4:], table[:, 2, 4:])

    def test_scores_depend_on_distances_alone(self):
        """q . k after rotation is the same for all pairs that are equally far apart along each axis."""
        rotation = rotations((4, 5), 16)
        q, k = torch.randn(2, 1, 1, 1, 16)
        turned_q, turned_k = (rotate(part.expand(1, 20, 1, 16), rotation)[0, :, 0] for part in (q, k))
        scores = (turned_q @ turned_k.T).view(4, 5, 4, 5)
        torch.testing.assert_close(scores[0, 1, 2, 2], scores[1, 3, 3, 4])
        torch.testing.assert_close(scores[3, 4, 0, 0], scores[3, 4, 0, 0])
        torch.testing.assert_close(scores[2, 2, 2, 2], (q * k).sum())
        assert not torch.isclose(scores[0, 0, 1, 0], scores[0, 0, 0, 1])

    def test_rotation_keeps_lengths(self):
        x = torch.randn(2, 6, 3, 8)
        torch.testing.assert_close(rotate(x, rotations((6,), 8)).norm(dim=-1), x.norm(dim=-1))


def test_gradients_of_the_scaled_rms_norm():
    """The own backward pass against automatic differentiation of the formula."""
    norm = AdaptiveNorm(6, "rms")
    with torch.no_grad():
        norm.weight.normal_()
    x, scale = torch.randn(2, 3, 6), torch.randn(2, 6)

    def formula(x, scale):
        rms = (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return x / rms * norm.weight * (1 + scale[:, None])

    weights, gradients = torch.randn(2, 3, 6), []
    for compute in (norm, formula):
        given = [value.clone().requires_grad_() for value in (x, scale)]
        out = compute(*given)
        gradients.append([out, *torch.autograd.grad((out * weights).sum(), [*given, norm.weight])])
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tokens", [7, 300])
def test_attention_is_softmax_of_products(tokens, dtype):
    """In training and without gradients, where other kernels compute it."""
    q, k, v = torch.randn(3, 2, 2, tokens, 8).to(dtype).requires_grad_()
    expected = (q.float() @ k.float().mT / math.sqrt(8)).softmax(-1) @ v.float()
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(attend(q, k, v).float(), expected, atol=tolerance, rtol=tolerance)
    with torch.no_grad():
        torch.testing.assert_close(attend(q, k, v).float(), expected, atol=tolerance, rtol=tolerance)


class TestGuidance:
    class Labels(torch.nn.Module):
        """Predicts its label; notes how many samples it saw."""

        n_classes = 9

        def __init__(self):
            super().__init__()
            self.batches = []

        def forward(self, x, t, labels):
            self.batches.append(len(x))
            return labels.view(-1, 1, 1).expand_as(x).float()

    @pytest.fixture
    def generator(self):
        return self.Labels()

    def test_extrapolates_away_from_no_label(self, generator):
        predict = guided(generator, torch.tensor([1, 4]), 3.0)
        out = predict(torch.zeros(2, 2, 2), torch.full((2,), 0.5))
        assert out[:, 0, 0].tolist() == [9 + 3 * (1 - 9), 9 + 3 * (4 - 9)]
        assert generator.batches == [4]

    def test_only_in_its_interval(self, generator):
        predict = guided(generator, torch.tensor([1]), 3.0, interval=(0.25, 0.75))
        found = [
            float(predict(torch.zeros(1, 1, 1), torch.tensor([t])).sum()) for t in (0.2, 0.25, 0.75, 0.8)
        ]
        assert found == [1, -15, -15, 1]
        assert generator.batches == [1, 2, 2, 1]

    def test_of_some_channels(self, generator):
        out = guided(generator, torch.tensor([1]), 3.0, channels=2)(torch.zeros(1, 3, 2), torch.ones(1))
        assert out[0, :, 0].tolist() == [-15, -15, 1]

    @pytest.mark.parametrize(("label", "scale"), [(1, 1.0), (9, 3.0)])
    def test_costs_nothing_where_it_changes_nothing(self, generator, label, scale):
        out = guided(generator, torch.tensor([label]), scale)(torch.zeros(1, 1, 1), torch.ones(1))
        assert float(out.sum()) == label
        assert generator.batches == [1]
