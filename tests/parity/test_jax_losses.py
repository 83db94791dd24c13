"""The jax engine's terms are the torch engine's, with their gradients."""

import numpy as np
import pytest
import torch

pytest.importorskip("jax", reason="the extra jax is not installed")

import jax

from anycodec.config.loss import GradientSpec, HuberSpec, L1Spec, LogCoshSpec, MseSpec, SpectralSpec, StftSpec
from anycodec.errors import ConfigError
from anycodec.jax.losses import LOSSES
from anycodec.jax.losses import make_losses as make_twins
from anycodec.torch.losses import make_losses
from parity.jax_twins import QUICK, difference, to_jax, windows

SPECS = {
    "l1": L1Spec(),
    "mse": MseSpec(),
    "huber": HuberSpec(delta=0.7),
    "log_cosh": LogCoshSpec(),
    "gradient": GradientSpec(),
    "stft": StftSpec(n_fft=(16, 30, 64)),
}


def test_all_have_a_case():
    assert sorted(SPECS) == sorted(LOSSES)


@pytest.mark.parametrize("silent", [False, True])
def test_terms_and_gradients(silent):
    """Of noise, and of a window of zeros, where roots and logarithms have no slope."""
    y, x = windows(2, 2, 160), windows(2, 2, 160, seed=1)
    if silent:
        x[0], y[0, 0] = 0, 0
    y_torch = torch.from_numpy(y).requires_grad_()
    terms = make_losses(SPECS)
    twins = make_twins(SPECS)
    both = jax.jit(
        lambda y, x: {name: jax.value_and_grad(term)(y, x) for name, term in twins.items()},
        compiler_options=QUICK,
    )(to_jax(y), to_jax(x))
    for name, term in terms.items():
        value = term(y_torch, torch.from_numpy(x))
        (slope,) = torch.autograd.grad(value, y_torch)
        assert float(both[name][0]) == pytest.approx(float(value.detach()), rel=1e-5), name
        assert difference(both[name][1], slope) < 1e-3, name


def test_equal_windows_have_a_finite_gradient():
    x = to_jax(windows(1, 1, 160))
    terms = make_twins(SPECS)
    slopes = jax.jit(
        lambda x: {name: jax.grad(term)(x, x) for name, term in terms.items()}, compiler_options=QUICK
    )(x)
    assert all(np.isfinite(slope).all() for slope in slopes.values())


def test_a_term_for_pictures_is_refused():
    with pytest.raises(ConfigError) as error:
        make_twins({"focal": SpectralSpec()})
    for part in ("the engine jax has no type spectral", "losses.focal.type", "or engine=torch"):
        assert part in str(error.value)
