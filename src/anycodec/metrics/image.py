"""PSNR and SSIM of pictures; a video counts as its frames."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anycodec.metrics.signal import decibel

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageScores:
    """Fidelity of pictures.

    Attributes:
        n: pictures or frames.
        psnr: mean over pictures of 10 log10(range^2 / MSE), dB, as papers give it.
        psnr_pooled: the same of the MSE over all pixels, finite as soon as one pixel differs.
        ssim: mean over pictures, at most 1.
    """

    n: int
    psnr: float
    psnr_pooled: float
    ssim: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


class ImageMetrics:
    """Fidelity of pictures that arrive one by one or in blocks.

    Args:
        data_range: highest minus lowest value of the type: 255 for 8 bit, 65535 for 16 bit.
    """

    def __init__(self, data_range: float) -> None:
        self._range = data_range
        self._psnr: list[float] = []
        self._ssim: list[float] = []
        self._squared = 0.0
        self._values = 0

    def update(self, original: ArrayLike, restored: ArrayLike) -> None:
        """Add frames [N H W C].

        Raises:
            ValueError: shapes differ.
        """
        frames, others = np.asarray(original), np.asarray(restored)
        if frames.shape != others.shape:
            raise ValueError(f"original has shape {frames.shape}, restored {others.shape}")
        for x, y in zip(frames, others, strict=True):
            squared = float(np.square(x.astype(np.float64) - y).sum())
            self._squared += squared
            self._values += x.size
            self._psnr.append(psnr(squared / x.size, self._range))
            self._ssim.append(ssim(x, y, self._range))

    def result(self) -> ImageScores:
        if not self._psnr:
            return ImageScores(n=0, psnr=math.nan, psnr_pooled=math.nan, ssim=math.nan)
        return ImageScores(
            n=len(self._psnr),
            psnr=float(np.mean(self._psnr)),
            psnr_pooled=psnr(self._squared / self._values, self._range),
            ssim=float(np.mean(self._ssim)),
        )


def psnr(mse: float, data_range: float) -> float:
    """Peak signal-to-noise ratio in dB; +inf without error."""
    return decibel(data_range**2, mse)


def ssim(original: ArrayLike, restored: ArrayLike, data_range: float) -> float:
    """Structural similarity of two pictures [H W C] (Wang et al. 2004, eq. 13).

    Gaussian window 11 x 11, sigma 1.5; mean over channels and all pixels, with the picture mirrored
    at its border, as torchmetrics and most papers' figures have it (Wang's own code leaves out the
    5 pixels along the border).
    """
    x, y = np.asarray(original, dtype=np.float64), np.asarray(restored, dtype=np.float64)
    channels = [_ssim_channel(x[..., c], y[..., c], data_range) for c in range(x.shape[2])]
    return float(np.mean(channels))


def _ssim_channel(x: Floats, y: Floats, data_range: float) -> float:
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_x, mean_y = _smooth(x), _smooth(y)
    var_x = _smooth(x * x) - mean_x**2
    var_y = _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return float((luminance * structure).mean())


def _smooth(plane: Floats) -> Floats:
    """Gaussian mean around each pixel, [H W]."""
    from scipy.ndimage import correlate1d

    offsets = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-0.5 * (offsets / SIGMA) ** 2)
    kernel /= kernel.sum()
    rows: Floats = correlate1d(plane, kernel, axis=0, mode="mirror")
    smooth: Floats = correlate1d(rows, kernel, axis=1, mode="mirror")
    return smooth
