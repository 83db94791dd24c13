"""Figures of a validation that look at pictures, or at the frames of clips: SSIM, LPIPS."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from anycodec.config.loss import LossWindow
from anycodec.config.metrics import LPIPS, SSIM, LpipsNet, reports_ssim
from anycodec.config.run import RunSpec, window_shape
from anycodec.metrics.image import K1, K2, SIGMA, WINDOW
from anycodec.torch.features.lpips import Lpips, load_lpips
from anycodec.torch.losses.lpips import frames

RANGE = 2.0
"""Of pictures in [-1, 1]."""


class PictureFigures:
    """What a training reports of its reconstructions beside the errors of their values.

    LPIPS is reported where a loss looks through that network or a best checkpoint asks for it.

    Args:
        spec: the run's configuration.

    Raises:
        WeightsError: LPIPS is wanted, and its weights are not on this machine.
    """

    def __init__(self, spec: RunSpec) -> None:
        shape = window_shape(spec.data, spec.codec.axes)
        self._ssim = reports_ssim(LossWindow(spec.codec.axes, shape, spec.data.normalizer.type))
        self._lpips: Mapping[str, Lpips] = {
            metric: load_lpips(net) for metric, net in LPIPS.items() if _wanted(spec, metric, net)
        }

    def __call__(self, reconstruction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Means over windows [B C *s] in [-1, 1], by name."""
        figures = {}
        with torch.autocast(target.device.type, enabled=False):
            if self._ssim:
                figures[SSIM] = ssim(frames(reconstruction.float()), frames(target.float()))
            for metric, lpips in self._lpips.items():
                distances = lpips.to(target.device)(frames(reconstruction), frames(target))
                figures[metric] = distances.mean()
        return figures


def shown(figures: Mapping[str, float]) -> str:
    """LPIPS of a validation, for a line of figures."""
    named = {metric: figures[metric] for metric in LPIPS if metric in figures}
    return "".join(f"  {metric.removeprefix('val/')} {value:.4f}" for metric, value in named.items())


def _wanted(spec: RunSpec, metric: str, net: LpipsNet) -> bool:
    trained = any(term.pretrained == f"lpips-{net}" for term in spec.losses.values())
    return trained or metric in spec.train.kept_metrics


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Mean structural similarity of pictures [N C H W] in [-1, 1], as `anycodec.metrics.image.ssim`."""
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    moments = _smooth(torch.stack([x, y, x * x, y * y, x * y]).flatten(1, 2))
    mean_x, mean_y, square_x, square_y, product = moments
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    variances = square_x - mean_x**2 + square_y - mean_y**2
    structure = (2 * (product - mean_x * mean_y) + c2) / (variances + c2)
    mean: Tensor = (luminance * structure).mean()
    return mean


def _smooth(planes: Tensor) -> Tensor:
    """Gaussian mean around each pixel of [... H W], mirrored at the border."""
    offsets = torch.arange(WINDOW, device=planes.device) - WINDOW // 2
    kernel = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    flat = planes.flatten(0, -3)[:, None]
    half = WINDOW // 2
    rows = F.conv2d(F.pad(flat, (half, half, 0, 0), mode="reflect"), kernel)
    both = F.conv2d(F.pad(rows, (0, 0, half, half), mode="reflect"), kernel.mT)
    return both.view(planes.shape)
