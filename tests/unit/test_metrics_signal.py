import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from torchmetrics.functional.audio import signal_noise_ratio

from anycodec.metrics.signal import PooledMetrics, SignalMetrics, SignalScores


def scores(x, y, mask=None) -> SignalScores:
    metrics = SignalMetrics()
    metrics.update(np.asarray(x, float)[:, None], np.asarray(y, float)[:, None], mask)
    return metrics.result()


def test_sine_with_alternating_error_has_the_analytic_figures():
    # a sine of amplitude 2 has power 2; an error of +-0.02 has power 4e-4: 10 log10(5000) dB
    n = 1000
    sine = 100 + 2 * np.sin(2 * np.pi * np.arange(n) * 10 / n)
    result = scores(sine, sine + 0.02 * (-1.0) ** np.arange(n))
    assert result.snr == pytest.approx(10 * math.log10(5000), abs=1e-6)
    assert result.rmse == pytest.approx(0.02)
    assert result.mae == pytest.approx(0.02)
    assert result.max_abs == pytest.approx(0.02)
    assert result.n == n


def test_agrees_with_scipy_and_torchmetrics():
    import torch

    rng = np.random.default_rng(0)
    x = rng.normal(90, 12, 5000)
    y = x + rng.normal(0, 3, 5000)
    result = scores(x, y)
    centred = torch.tensor(x - x.mean()), torch.tensor(y - x.mean())
    expected = signal_noise_ratio(preds=centred[1], target=centred[0])
    assert result.snr == pytest.approx(float(expected), abs=1e-6)
    assert result.pearson == pytest.approx(pearsonr(x, y).statistic, abs=1e-12)


def test_mean_is_removed_for_each_channel():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 2))
    y = x + rng.normal(scale=0.1, size=x.shape)
    offset = np.array([0.0, 1e4])
    plain, shifted = SignalMetrics(), SignalMetrics()
    plain.update(x, y)
    shifted.update(x + offset, y + offset)
    assert shifted.result().snr == pytest.approx(plain.result().snr, abs=1e-6)
    assert plain.result().snr == pytest.approx(20, abs=0.2)


@settings(max_examples=50, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 300), max_size=6),
    offset=st.sampled_from([0.0, 1e3, -1e6]),
    seed=st.integers(0, 2**31),
)
def test_streaming_equals_one_shot(cuts, offset, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(offset, 5, (300, 3))
    y = x + rng.normal(0, 1, x.shape)
    mask = rng.random(x.shape) < 0.9
    whole, parts = SignalMetrics(), SignalMetrics()
    whole.update(x, y, mask)
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 300], strict=True):
        parts.update(x[start:stop], y[start:stop], mask[start:stop])
    assert parts.result().as_dict() == pytest.approx(whole.result().as_dict(), rel=1e-6)


def test_masked_values_do_not_count_whatever_they_hold():
    x = np.array([1.0, 2, 4, 8, np.nan, 16])
    y = np.array([1.5, 2, 4, 8, 3.0, np.nan])
    mask = np.array([1, 1, 1, 1, 0, 0], bool)[:, None]
    assert scores(x, y, mask) == scores(x[:4], y[:4])


def test_nan_outside_the_mask_is_not_hidden():
    assert math.isnan(scores([1.0, 2.0], [1.0, np.nan]).rmse)


@pytest.mark.parametrize("level", [0.0, 0.1, 1e9 + 0.1])
def test_constant_signal_is_defined(level):
    constant = np.full(777, level)
    exact, off = scores(constant, constant), scores(constant, constant + 1)
    assert (exact.snr, exact.pearson, exact.rmse) == (math.inf, 1.0, 0.0)
    assert (off.snr, off.pearson) == (-math.inf, 0.0)


def test_nothing_compared_is_nan():
    result = scores([1.0], [2.0], [[False]])
    assert result.n == 0
    assert math.isnan(result.snr)


def test_window_layout_equals_signal_layout():
    rng = np.random.default_rng(2)
    windows = rng.normal(size=(5, 3, 64))
    noisy = windows + 0.1
    signals, folded = SignalMetrics(), SignalMetrics(channel_axis=1)
    folded.update(windows, noisy)
    signals.update(windows.transpose(0, 2, 1).reshape(-1, 3), noisy.transpose(0, 2, 1).reshape(-1, 3))
    assert folded.result() == signals.result()


def test_integers_do_not_overflow():
    low, high = np.full((4, 1), -32768, np.int16), np.full((4, 1), 32767, np.int16)
    metrics = SignalMetrics()
    metrics.update(low, high)
    assert metrics.result().max_abs == 65535


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shape"):
        SignalMetrics().update(np.zeros((3, 1)), np.zeros((1, 1)))


def test_pooled_keeps_each_signals_own_mean():
    rng = np.random.default_rng(3)
    pooled = PooledMetrics()
    parts = []
    for level in (0.0, 500.0, -500.0):
        x = rng.normal(level, 1, (1000, 1))
        signal = SignalMetrics()
        signal.update(x, x + 0.1)
        parts.append(pooled.add(signal).snr)
    pooled.add(SignalMetrics())
    assert pooled.result().snr == pytest.approx(20, abs=0.3)
    assert pooled.median_snr == pytest.approx(np.median(parts))
    assert pooled.result().n == 3000
