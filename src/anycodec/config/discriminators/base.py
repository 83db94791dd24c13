"""What every discriminator's spec says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import Field

from anycodec.config.base import Spec
from anycodec.config.losses.base import LossWindow, Misfit


class DiscriminatorBase(Spec, ABC):
    """Settings that every discriminator has."""

    spectral_norm: bool = Field(
        False, description="divide each weight by its largest singular value (Miyato 2018)"
    )

    depth_setting: ClassVar[str]
    """The setting that says how far windows are reduced."""

    @property
    @abstractmethod
    def couples_samples(self) -> bool:
        """Whether a judgement depends on the other windows of its batch, as with batch statistics.

        A gradient penalty a window is then not defined (Gulrajani 2017, section 4).
        """

    @abstractmethod
    def smallest_window(self, axes: str) -> tuple[int, ...]:
        """Least extent along each of the axes (T, HW or THW) that gives a logit."""

    def misfit(self, window: LossWindow) -> Misfit | None:
        """Why the discriminator can't judge such windows, None if it can."""
        for axis, extent, least in zip(
            window.axes, window.shape, self.smallest_window(window.axes), strict=True
        ):
            if extent < least:
                return Misfit(
                    self.depth_setting,
                    f"the discriminator needs windows of at least {least} along {axis}, they have {extent}",
                    f"use fewer {self.depth_setting}, or larger windows",
                )
        return None


def per_axis(axes: str, extent: int) -> tuple[int, ...]:
    """`extent` along each axis but the time of clips, which may be one frame long."""
    return (1,) * (axes == "THW") + (extent,) * min(len(axes), 2)
