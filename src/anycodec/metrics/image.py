"""PSNR, SSIM and MS-SSIM of pictures; a video counts as its frames."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anycodec.metrics.signal import decibel

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales of MS-SSIM, full resolution first (Wang et al. 2003, section 3.2)."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageScores:
    """Fidelity of pictures.

    Attributes:
        n: pictures or frames.
        psnr: mean over pictures of 10 log10(range^2 / MSE), dB, as papers give it.
        psnr_pooled: the same of the MSE over all pixels, finite as soon as one pixel differs.
        ssim: mean over pictures, at most 1.
        ms_ssim: mean over pictures, at most 1.
        ms_ssim_scales: scales of the smallest picture: below 5 the figure is not the papers'.
    """

    n: int
    psnr: float
    psnr_pooled: float
    ssim: float
    ms_ssim: float
    ms_ssim_scales: int

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
        self._ms_ssim: list[float] = []
        self._scales = len(SCALE_WEIGHTS)
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
            scales = _scales(x, y, self._range)
            self._ssim.append(scales[0].ssim)
            self._ms_ssim.append(_combined(scales))
            self._scales = min(self._scales, len(scales))

    def result(self) -> ImageScores:
        if not self._psnr:
            nan = math.nan
            return ImageScores(n=0, psnr=nan, psnr_pooled=nan, ssim=nan, ms_ssim=nan, ms_ssim_scales=0)
        return ImageScores(
            n=len(self._psnr),
            psnr=float(np.mean(self._psnr)),
            psnr_pooled=psnr(self._squared / self._values, self._range),
            ssim=float(np.mean(self._ssim)),
            ms_ssim=float(np.mean(self._ms_ssim)),
            ms_ssim_scales=self._scales,
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
    return _similarity(_floats(original), _floats(restored), data_range).ssim


def ms_ssim(original: ArrayLike, restored: ArrayLike, data_range: float) -> float:
    """Multi-scale structural similarity of two pictures [H W C] (Wang et al. 2003, eq. 7).

    Each scale halves the picture by the mean of 2 x 2 pixels. A scale narrower than the window of 11
    pixels is left out, and the exponents of the others are stretched to sum to 1 again: five scales
    need 176 pixels a side, and below 22 pixels this is SSIM.
    """
    return _combined(_scales(original, restored, data_range))


@dataclass(frozen=True, slots=True)
class _Scale:
    """Mean over channels and pixels of SSIM, and of its contrast and structure terms alone."""

    ssim: float
    structure: float


def _scales(original: ArrayLike, restored: ArrayLike, data_range: float) -> list[_Scale]:
    """From full resolution on, as long as the window fits; at least one."""
    x, y = _floats(original), _floats(restored)
    found = [_similarity(x, y, data_range)]
    while len(found) < len(SCALE_WEIGHTS) and min(x.shape[:2]) >= 2 * WINDOW:
        x, y = _halved(x), _halved(y)
        found.append(_similarity(x, y, data_range))
    return found


def _combined(scales: list[_Scale]) -> float:
    """Product over scales, with luminance at the coarsest alone; negative similarities count as 0."""
    weights = np.array(SCALE_WEIGHTS[: len(scales)])
    terms = [*(scale.structure for scale in scales[:-1]), scales[-1].ssim]
    return float(np.prod(np.maximum(terms, 0) ** (weights / weights.sum())))


def _halved(picture: Floats) -> Floats:
    """Mean of 2 x 2 pixels, [H W C] -> [H//2 W//2 C]."""
    rows, columns = (size // 2 for size in picture.shape[:2])
    blocks = picture[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, -1)
    halved: Floats = blocks.mean(axis=(1, 3))
    return halved


def _floats(picture: ArrayLike) -> Floats:
    return np.asarray(picture, dtype=np.float64)


def _similarity(x: Floats, y: Floats, data_range: float) -> _Scale:
    channels = [_similarity_channel(x[..., c], y[..., c], data_range) for c in range(x.shape[2])]
    return _Scale(*(float(mean) for mean in np.mean(channels, axis=0)))


def _similarity_channel(x: Floats, y: Floats, data_range: float) -> tuple[float, float]:
    """Means of luminance x structure, and of structure."""
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_x, mean_y = _smooth(x), _smooth(y)
    var_x = _smooth(x * x) - mean_x**2
    var_y = _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return float((luminance * structure).mean()), float(structure.mean())


def _smooth(plane: Floats) -> Floats:
    """Gaussian mean around each pixel, [H W]."""
    from scipy.ndimage import correlate1d

    offsets = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-0.5 * (offsets / SIGMA) ** 2)
    kernel /= kernel.sum()
    rows: Floats = correlate1d(plane, kernel, axis=0, mode="mirror")
    smooth: Floats = correlate1d(rows, kernel, axis=1, mode="mirror")
    return smooth
