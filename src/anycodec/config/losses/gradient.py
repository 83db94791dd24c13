"""Settings of the term `gradient`."""

from __future__ import annotations

from typing import Literal

from anycodec.config.losses.base import LossTerm, LossWindow, Misfit


class GradientSpec(LossTerm):
    """Mean absolute error of the differences between neighbours along each axis: sharpens edges."""

    type: Literal["gradient"] = "gradient"

    def misfit(self, window: LossWindow) -> Misfit | None:
        if min(window.shape) > 1:
            return None
        axis = window.axes[window.shape.index(1)]
        return Misfit(
            "type",
            f"the windows have one value along {axis}, which has no neighbours",
            "use a longer window, or l1 instead of gradient",
        )
