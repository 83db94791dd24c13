import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from anycodec.metrics.image import ImageMetrics, ms_ssim, psnr, ssim


def pictures(n: int, shape=(64, 96, 3), seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth pictures with edges, and noisy, blurred copies of them."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(n, *shape)), (0, 4, 4, 0))
    original = np.clip(128 + 400 * smooth + 40 * (smooth > 0), 0, 255).astype(np.uint8)
    worse = gaussian_filter(original.astype(float), (0, 1, 1, 0)) + rng.normal(0, 6, original.shape)
    return original, np.clip(worse, 0, 255).astype(np.uint8)


def as_torch(frames: np.ndarray) -> torch.Tensor:
    return torch.tensor(frames, dtype=torch.float64).movedim(-1, 1)


@pytest.mark.parametrize("shape", [(64, 96, 3), (12, 40, 1)])
def test_ssim_agrees_with_torchmetrics(shape):
    for x, y in zip(*pictures(3, shape), strict=True):
        expected = structural_similarity_index_measure(as_torch(y[None]), as_torch(x[None]), data_range=255.0)
        assert ssim(x, y, 255) == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("shape", [(192, 208, 3), (177, 181, 1)])
def test_ms_ssim_agrees_with_torchmetrics(shape):
    for x, y in zip(*pictures(2, shape), strict=True):
        expected = multiscale_structural_similarity_index_measure(
            as_torch(y[None]), as_torch(x[None]), data_range=255.0
        )
        assert ms_ssim(x, y, 255) == pytest.approx(float(expected), abs=1e-3)


def test_ms_ssim_takes_fewer_scales_of_small_pictures():
    def scales(size: int) -> int:
        metrics = ImageMetrics(255)
        x, y = pictures(1, (size, size + 30, 1))
        metrics.update(x, y)
        return metrics.result().ms_ssim_scales

    assert [scales(size) for size in (12, 21, 22, 64, 88, 175, 176, 300)] == [1, 1, 2, 3, 4, 4, 5, 5]
    x, y = pictures(1, (20, 20, 3))
    assert ms_ssim(x[0], y[0], 255) == pytest.approx(ssim(x[0], y[0], 255))


def test_psnr_agrees_with_torchmetrics():
    original, restored = pictures(4)
    metrics = ImageMetrics(255)
    metrics.update(original[:1], restored[:1])
    metrics.update(original[1:], restored[1:])
    result = metrics.result()
    x, y = as_torch(original), as_torch(restored)
    each = peak_signal_noise_ratio(y, x, data_range=255.0, dim=(1, 2, 3))
    assert result.psnr == pytest.approx(float(each), abs=1e-5)
    assert result.psnr_pooled == pytest.approx(
        float(peak_signal_noise_ratio(y, x, data_range=255.0)), abs=1e-5
    )
    assert result.n == 4


def test_known_values():
    assert psnr(1.0, 255) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(0.0, 255) == math.inf
    flat = np.full((16, 16, 1), 100, np.uint8)
    assert ssim(flat, flat, 255) == pytest.approx(1.0)
    # constant pictures leave the luminance term alone: (2ab + c1) / (a^2 + b^2 + c1)
    c1 = 2.55**2
    assert ssim(flat, flat + 50, 255) == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1))


def test_16_bit_and_8_bit_agree():
    original, restored = pictures(1)
    narrow = ssim(original[0], restored[0], 255)
    wide = ssim(original[0].astype(np.uint16) * 257, restored[0].astype(np.uint16) * 257, 65535)
    assert wide == pytest.approx(narrow, abs=1e-9)


@pytest.mark.parametrize("size", [(1, 1), (3, 50)])
def test_pictures_narrower_than_the_window_are_defined(size):
    x = np.full((*size, 3), 40, np.uint8)
    assert ssim(x, x, 255) == pytest.approx(1.0)
    assert ssim(x, 255 - x, 255) < 0.5


def test_nothing_compared_is_nan():
    assert math.isnan(ImageMetrics(255).result().psnr)
