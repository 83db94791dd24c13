"""Settings of the term `spectral`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.losses.base import LossTerm, LossWindow, Misfit


class SpectralSpec(LossTerm):
    """Focal frequency loss of pictures (Jiang 2021): squared error of the 2-D spectrum, worst first."""

    type: Literal["spectral"] = "spectral"
    alpha: float = Field(
        1.0, ge=0, le=8, description="how much frequencies with a large error count more; 0 = all alike"
    )

    def misfit(self, window: LossWindow) -> Misfit | None:
        if window.axes != "T":
            return None
        return Misfit("type", "spectral is for pictures and video, these are series", "use stft for series")
