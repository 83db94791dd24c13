"""Figures of a validation that can decide which weights a run keeps, by their names in metrics.csv.

All but `step`, by which the last weights are kept, are of normalised windows. `val/snr` and `val/psnr` are in
dB; `val/psnr` and `val/ssim` take a range of 2, [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from anycodec.config.losses.base import LossWindow, Misfit
from anycodec.config.losses.lpips import LpipsSpec
from anycodec.config.nearest import did_you_mean

Mode = Literal["max", "min"]
LpipsNet = Literal["alex", "vgg"]

STEP = "step"
_ANY: Mapping[str, Mode] = MappingProxyType(
    {"val/loss": "min", "val/mse": "min", "val/l1": "min", "val/snr": "max", "val/psnr": "max", STEP: "max"}
)
_TOKENS: Mapping[str, Mode] = MappingProxyType({"val/codes_used": "max", "val/perplexity": "max"})
"""Means over levels, which have their own `val/codes_used_0`, ... where there are several."""
SSIM = "val/ssim"
LPIPS: Mapping[str, LpipsNet] = MappingProxyType({"val/lpips_alex": "alex", "val/lpips_vgg": "vgg"})
"""LPIPS by the network that it looks through."""
SMALLEST_SSIM = 11
"""Pixels a side: SSIM's window."""


def better(metric: str) -> Mode:
    """Whether more or less of a metric is better."""
    if metric in LPIPS:
        return "min"
    return _ANY.get(metric, "max")


def metric_weights(metric: str) -> str | None:
    """Name of the published weights that a metric needs, as in `anycodec weights`."""
    return f"lpips-{LPIPS[metric]}" if metric in LPIPS else None


def metric_misfit(setting: str, metric: str, window: LossWindow, levels: int) -> Misfit | None:
    """Why a training on such windows can't report a metric, None if it can.

    Args:
        setting: what names it.
        metric: its name.
        window: the windows.
        levels: of the codec's tokens, 0 where latents stay continuous.
    """
    known = _known(window, levels)
    if metric in known:
        return None
    reason = _reason(metric, window) or did_you_mean(metric, known)
    return Misfit(
        setting,
        f"there is no metric {metric!r}" + (f": {reason}" if reason else ""),
        f"known metrics: {', '.join(known)}",
    )


def _known(window: LossWindow, levels: int) -> list[str]:
    """What a validation can report."""
    known = list(_ANY)
    if levels:
        known += _TOKENS
    if levels > 1:
        known += [f"{name}_{level}" for level in range(levels) for name in _TOKENS]
    if reports_ssim(window):
        known.append(SSIM)
    return known + [metric for metric in LPIPS if _lpips_misfit(metric, window) is None]


def reports_ssim(window: LossWindow) -> bool:
    """Whether windows are pictures in [-1, 1], large enough for SSIM."""
    return window.axes != "T" and window.normalizer == "fixed" and min(window.shape[-2:]) >= SMALLEST_SSIM


def _reason(metric: str, window: LossWindow) -> str | None:
    """What a metric that others have would need."""
    if metric in _TOKENS:
        return "the codec's latents are continuous, it has no tokens"
    if metric == SSIM:
        return f"it needs pictures in [-1, 1] of at least {SMALLEST_SSIM} pixels a side"
    return _lpips_misfit(metric, window) if metric in LPIPS else None


def _lpips_misfit(metric: str, window: LossWindow) -> str | None:
    misfit = LpipsSpec(net=LPIPS[metric]).misfit(window)
    return misfit.what if misfit else None
