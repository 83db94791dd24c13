"""The figures of a validation."""

from __future__ import annotations

from collections.abc import Mapping

METRICS = ("val/loss", "val/mse", "val/l1", "val/snr", "val/psnr")
"""What `train.best.metric` can name. `val/snr` and `val/psnr` are in dB, on normalised windows;
`val/psnr` takes a range of 2, [-1, 1]."""
TOKEN_METRICS = ("val/codes_used", "val/perplexity")
"""What it can name too where the codec has tokens: means over levels, which have their own
`val/codes_used_0`, ... where there are several."""


def summary(step: int, figures: Mapping[str, float], more: str) -> str:
    """The line that a validation prints."""
    text = f"step {step:>6}  loss {figures['val/loss']:.5g}  snr {figures['val/snr']:.2f} dB"
    if "val/codes_used" in figures:
        text += f"  codes {figures['val/codes_used']:.0%}  perplexity {figures['val/perplexity']:.0f}"
    return text + more
