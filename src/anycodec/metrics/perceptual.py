"""LPIPS of pictures; a video counts as its frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.config.losses.lpips import SMALLEST
from anycodec.engine import PictureDistance
from anycodec.errors import DataError
from anycodec.metrics.features import rgb


class PerceptualMetric:
    """Mean LPIPS of pictures that arrive one by one or in blocks.

    Args:
        net: alex or vgg.
        distance: LPIPS with that network.
    """

    def __init__(self, net: str, distance: PictureDistance) -> None:
        self.net = net
        self._distance = distance
        self._found: list[float] = []

    def beside(self) -> PerceptualMetric:
        return PerceptualMetric(self.net, self._distance)

    def update(
        self, original: NDArray[Any], restored: NDArray[Any], value_range: tuple[float, float]
    ) -> None:
        """Add frames [N H W C].

        Raises:
            DataError: pictures that are too small for the network.
        """
        side = min(original.shape[1:3])
        if side < SMALLEST[self.net]:
            raise DataError(
                f"LPIPS with {self.net} needs pictures of at least {SMALLEST[self.net]} pixels a side, "
                f"this one has {side}",
                how="leave out --lpips" + (", or use --lpips vgg" if side >= SMALLEST["vgg"] else ""),
            )
        for x, y in zip(original, restored, strict=True):
            self._found.append(self._distance(rgb(x, value_range), rgb(y, value_range)))

    def scores(self) -> dict[str, float]:
        """`lpips_alex` or `lpips_vgg`, mean over pictures."""
        return {f"lpips_{self.net}": float(np.mean(self._found))}
