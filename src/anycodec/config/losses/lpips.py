"""Settings of the term `lpips`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from anycodec.config.losses.base import LossTerm, LossWindow, Misfit

SMALLEST: Mapping[str, int] = MappingProxyType({"vgg": 16, "alex": 31})
"""Pixels a side from which on the deepest features of each network are not empty."""


class LpipsSpec(LossTerm):
    """LPIPS (Zhang 2018): distance of pictures in the features of a classifier, near to human judgement."""

    type: Literal["lpips"] = "lpips"
    net: Literal["vgg", "alex"] = Field(
        "vgg", description="the classifier: vgg to train with, alex is quicker and usual for reports"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="of the classifier's convolutions, whatever train.precision is: bf16 is two to three "
        "times as fast where the machine multiplies it; reports always have fp32",
    )

    frames: int | None = Field(
        None,
        ge=1,
        description="frames of a clip that a training step compares, evenly spaced from a random one on: "
        "neighbours resemble each other, and comparing takes long; null = all",
    )

    def misfit(self, window: LossWindow) -> Misfit | None:
        if window.axes == "T":
            return Misfit("type", "lpips is for pictures and video, these are series", "use stft for series")
        side = min(window.shape[-2:])
        if side < SMALLEST[self.net]:
            return Misfit(
                "net",
                f"{self.net} needs pictures of at least {SMALLEST[self.net]} pixels a side, "
                f"the window has {side}",
                "use a larger data.window.size, or another term",
            )
        if self.frames is not None and not (len(window.shape) == 3 and self.frames <= window.shape[0]):
            clip = f"clips of {window.shape[0]}" if len(window.shape) == 3 else "single pictures"
            return Misfit(
                "frames", f"windows are {clip}, not of {self.frames} frames or more", "leave it out"
            )
        if window.normalizer != "fixed":
            return Misfit(
                "type",
                f"lpips needs pictures in [-1, 1], which the normalizer {window.normalizer} does not give",
                "use data.normalizer.type=fixed",
            )
        return None

    @property
    def pretrained(self) -> str:
        return f"lpips-{self.net}"
