"""Loss terms against values worked out by hand, and the windows that each refuses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from anycodec.config.codec import TotemSpec
from anycodec.config.data import TableSource
from anycodec.config.loader import load_spec
from anycodec.config.loss import (
    GradientSpec,
    HuberSpec,
    L1Spec,
    LogCoshSpec,
    LossSpec,
    MseSpec,
    SpectralSpec,
    StftSpec,
)
from anycodec.config.run import RunSpec, cross_check
from anycodec.config.train import TrainSpec
from anycodec.errors import ConfigError
from anycodec.torch.losses import make_losses
from anycodec.torch.losses.stft import magnitude
from anycodec.torch.training.module import CodecTraining

ANY_RANK = [MseSpec(), L1Spec(), HuberSpec(), LogCoshSpec(), GradientSpec()]
SHAPES = [(2, 3, 16), (2, 3, 8, 6), (2, 3, 4, 8, 6)]


def value(spec: LossSpec, reconstruction: Tensor, target: Tensor) -> float:
    return float(make_losses({"term": spec})["term"](reconstruction, target))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def errors(*e: float) -> tuple[Tensor, Tensor]:
    """Windows [1 1 T] that differ by these errors."""
    target = noise(1, 1, len(e)).double()
    return target + torch.tensor(e, dtype=torch.float64), target


# --- pointwise ---------------------------------------------------------------------------------------


def test_huber_is_quadratic_up_to_delta_and_linear_beyond() -> None:
    # .5^2 / 2 = .125; .5 (2 - .25) = .875
    assert value(HuberSpec(delta=0.5), *errors(0.5, -2.0)) == pytest.approx((0.125 + 0.875) / 2)


@pytest.mark.parametrize(
    ("e", "log_cosh"), [(0.0, 0.0), (1.0, 0.4337808304830271), (-2.0, 1.3250027473578645)]
)
def test_log_cosh(e: float, log_cosh: float) -> None:
    assert value(LogCoshSpec(), *errors(e)) == pytest.approx(log_cosh, abs=1e-12)


def test_log_cosh_of_large_errors_does_not_overflow() -> None:
    assert value(LogCoshSpec(), *errors(1e5)) == pytest.approx(1e5 - math.log(2))


def test_the_gradient_of_log_cosh_is_tanh() -> None:
    e = torch.tensor([[[-3.0, -0.1, 0.7, 40.0]]], requires_grad=True)
    make_losses({"term": LogCoshSpec()})["term"](e, torch.zeros_like(e)).backward()
    assert torch.allclose(e.grad * 4, torch.tanh(e.detach()), atol=1e-6)


# --- gradients ----------------------------------------------------------------------------------------


def test_gradient_ignores_an_offset_and_counts_slopes_of_each_axis() -> None:
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing="ij")
    target = noise(1, 1, 5, 7)
    assert value(GradientSpec(), target + 3, target) == pytest.approx(0, abs=1e-6)
    # slopes 2 along H and -.5 along W: (2 + .5) / 2
    assert value(GradientSpec(), target + 2 * rows - 0.5 * columns, target) == pytest.approx(1.25, abs=1e-5)


def test_gradient_of_clips_counts_time() -> None:
    time = torch.arange(4.0).view(4, 1, 1)
    target = noise(1, 1, 4, 5, 6)
    assert value(GradientSpec(), target + 3 * time, target) == pytest.approx(1, abs=1e-5)  # (3 + 0 + 0) / 3


# --- spectra ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3, 8, 6), (1, 2, 3, 5, 4)])
def test_spectral_without_focus_is_the_squared_error(shape: tuple[int, ...]) -> None:
    """Parseval's theorem."""
    x, y = noise(*shape), noise(*shape, seed=1)
    assert value(SpectralSpec(alpha=0), x, y) == pytest.approx(float((x - y).square().mean()), rel=1e-5)


def test_spectral_weighs_each_frequency_by_its_error() -> None:
    """A constant of .5 and a wave of amplitude .2, on 8 x 8: powers (8 .5)^2 and twice (8 .2 / 2)^2."""
    wave = 0.2 * torch.cos(2 * math.pi * torch.arange(8) / 8)
    x = (0.5 + wave).expand(1, 1, 8, 8)
    weight = 0.8 / 4  # ratio of the magnitudes, alpha 1
    expected = (1 * 16 + 2 * weight * 0.64) / 64
    assert value(SpectralSpec(alpha=1), x, torch.zeros(1, 1, 8, 8)) == pytest.approx(expected, rel=1e-5)


def test_spectral_of_equal_pictures_has_a_gradient_of_zero() -> None:
    x = noise(1, 1, 8, 8).requires_grad_()
    make_losses({"term": SpectralSpec()})["term"](x, x.detach().clone()).backward()
    assert float(x.grad.abs().max()) == 0


def test_stft_of_a_scaled_series() -> None:
    """x^ = x / 2: convergence (1 - 1/2), log-magnitude log 2, at each resolution."""
    x = noise(2, 3, 512)
    assert value(StftSpec(), x / 2, x) == pytest.approx(0.5 + math.log(2), rel=1e-4)


def test_stft_does_not_hear_the_sign() -> None:
    x = noise(1, 1, 512)
    assert value(StftSpec(), -x, x) == pytest.approx(0, abs=1e-6)


def test_the_frames_of_the_stft_are_those_of_scipy() -> None:
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    x = noise(1, 1, 300)
    n_fft = 64
    transform = ShortTimeFFT(hann(n_fft, sym=False), n_fft // 4, fs=1)
    expected = np.abs(transform.stft(x[0, 0].numpy()))[:, transform.lower_border_end[1] :]
    found = magnitude(x, n_fft)[0].numpy()
    inner = slice(2, 15)  # away from the ends, where one mirrors and the other pads zeros
    columns = [np.abs(expected[:, i : i + 13] - found[:, inner]).max() for i in range(expected.shape[1] - 13)]
    assert min(columns) < 1e-4


def test_stft_of_silence_is_finite_and_so_is_its_gradient() -> None:
    x = torch.zeros(1, 1, 256, requires_grad=True)
    loss = make_losses({"term": StftSpec()})["term"](x, torch.zeros(1, 1, 256))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.isfinite(x.grad).all()


# --- all ----------------------------------------------------------------------------------------------

CASES = [(spec, shape) for shape in SHAPES for spec in ANY_RANK]
CASES += [(SpectralSpec(alpha=0), shape) for shape in SHAPES[1:]] + [(StftSpec(n_fft=(8, 16)), SHAPES[0])]


@pytest.mark.parametrize(("spec", "shape"), CASES, ids=lambda case: getattr(case, "type", None))
def test_terms_are_zero_for_equal_windows_and_lead_downhill(spec: LossSpec, shape: tuple[int, ...]) -> None:
    term = make_losses({"term": spec})["term"]
    target, x = noise(*shape), noise(*shape, seed=1).requires_grad_()
    before = term(x, target)
    before.backward()
    assert before.shape == ()
    assert float(term(target, target)) == pytest.approx(0, abs=1e-6)
    step = 1e-3 * x.grad / x.grad.norm()
    after = float(term(x.detach() - step, target))
    assert float(before.detach()) - after == pytest.approx(float((step * x.grad).sum()), rel=0.05)


@pytest.mark.parametrize("spec", [*ANY_RANK, SpectralSpec()], ids=lambda spec: spec.type)
def test_terms_are_computed_in_float32_under_autocast(spec: LossSpec) -> None:
    x, y = noise(2, 3, 16, 16).bfloat16(), noise(2, 3, 16, 16, seed=1)
    module = CodecTraining(torch.nn.Identity(), make_losses({"term": spec}), {"term": 2.0}, TrainSpec())
    with torch.autocast("cpu", torch.bfloat16):
        found = module.terms(x, y)["term"]
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(2 * value(spec, x.float(), y), rel=1e-6)


# --- refusals -----------------------------------------------------------------------------------------

SERIES = "data: {type: array, window: {samples: 480}}\ncodec: {type: totem}\n"
PICTURES = "data: {type: image, window: {size: [32, 32]}}\ncodec: {type: vqvae2, rates: [4]}\n"
CLIPS = """\
data: {type: video, window: {size: [32, 32], frames: 1}}
codec: {type: causal3d, time_strides: [1, 1, 1]}
"""


REFUSED = {
    "stft on pictures": (PICTURES, "{type: stft}", "type", "stft is for series", "use spectral"),
    "spectral on series": (SERIES, "{type: spectral}", "type", "spectral is for pictures", "use stft"),
    "lpips on series": (SERIES, "{type: lpips}", "type", "lpips is for pictures", "use stft"),
    "long frames": (
        SERIES, "{type: stft, n_fft: [64, 512]}", "n_fft",
        "512 samples is longer than the window of 480", "at most 480",
    ),
    "small pictures": (
        PICTURES.replace("32, 32", "28, 32"), "{type: lpips, net: alex}", "net",
        "31 pixels a side, the window has 28", "larger data.window.size",
    ),
    "another range": (
        PICTURES.replace("image,", "image, normalizer: {type: revin},"), "{type: lpips}", "type",
        "pictures in [-1, 1], which the normalizer revin does not give", "data.normalizer.type=fixed",
    ),
    "no neighbours": (CLIPS, "{type: gradient}", "type", "one value along T", "longer window"),
}  # fmt: skip
"""Configuration, term, setting that is refused, parts of what is wrong and of how to mend it."""


@pytest.mark.parametrize("case", REFUSED)
def test_a_term_that_does_not_fit_the_windows_is_refused_before_training(tmp_path: Path, case: str) -> None:
    config, term, setting, what, how = REFUSED[case]
    path = tmp_path / "c.yaml"
    path.write_text(f"{config}losses:\n  x: {term}\n")
    with pytest.raises(ConfigError) as caught:
        load_spec(path, check_paths=False)
    (mistake,) = caught.value.mistakes
    assert mistake.what.startswith(f"`losses.x.{setting}`: ")
    assert what in mistake.what
    assert mistake.how is not None
    assert how in mistake.how
    assert mistake.where == f"{path}:4"


def test_terms_fit_where_they_should(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        f"{SERIES}losses: {{a: {{type: stft}}, b: {{type: gradient}}, c: {{type: huber, delta: 2}}}}\n"
    )
    assert load_spec(path, check_paths=False).losses["c"] == HuberSpec(delta=2)
    path.write_text(
        f"{PICTURES}losses: {{a: {{type: spectral}}, b: {{type: lpips}}, c: {{type: gradient}}}}\n"
    )
    assert load_spec(path, check_paths=False).losses["b"].net == "vgg"


@pytest.mark.parametrize("name", ["keys", "items", "float", "training", "type"])
def test_a_term_may_have_the_name_of_a_method(name):
    terms = make_losses({name: MseSpec(), "other": L1Spec()})
    assert [found for found, _ in terms.items()] == [name, "other"]
    assert float(terms[name](torch.zeros(4), torch.full((4,), 3.0))) == 9


@pytest.mark.parametrize("name", ["", "a.b", "1st", "a b", "a/b", "mse\n"])
def test_names_are_plain(name):
    spec = RunSpec(data=TableSource(), codec=TotemSpec(), losses={name: MseSpec()})
    (found,) = [mistake for key, mistake in cross_check(spec) if key == f"losses.{name}"]
    assert found.what == f"{name!r} is no name for a loss term"
