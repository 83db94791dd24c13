"""Figures of pictures in a validation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anycodec.metrics.image import ssim as reference
from anycodec.torch.training.pictures import shown, ssim


@pytest.mark.parametrize("shape", [(1, 1, 11, 11), (3, 3, 24, 17)])
def test_ssim_is_that_of_the_reports(shape: tuple[int, ...]) -> None:
    x, y = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = 0.7 * x + 0.3 * y
    expected = np.mean([reference(a, b, 2.0) for a, b in zip(x.movedim(1, 3), y.movedim(1, 3), strict=True)])
    assert float(ssim(x, y)) == pytest.approx(float(expected), abs=1e-5)
    assert float(ssim(x, x)) == pytest.approx(1)


def test_lpips_is_shown_with_its_network() -> None:
    assert shown({"val/loss": 1.0, "val/lpips_vgg": 0.12345}) == "  lpips_vgg 0.1235"
