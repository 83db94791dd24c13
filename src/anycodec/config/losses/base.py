"""What every loss term's spec says."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from anycodec.config.base import Spec


@dataclass(frozen=True, slots=True)
class LossWindow:
    """The windows that a term compares.

    Attributes:
        axes: spatial axes, one letter each: T, HW or THW.
        shape: extent along each of them.
        normalizer: type of the normalizer that gave them their scale.
    """

    axes: str
    shape: tuple[int, ...]
    normalizer: str


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a term can't work on some windows: the setting of the term, what is wrong, how to mend it."""

    setting: str
    what: str
    how: str


class LossTerm(Spec):
    """Settings that every term has."""

    weight: float = Field(1.0, ge=0, description="factor of this term in the sum")

    def misfit(self, window: LossWindow) -> Misfit | None:
        """Why the term can't work on such windows, None if it can."""
        return None

    @property
    def pretrained(self) -> str | None:
        """Name of the published weights that the term needs, as in `anycodec weights`."""
        return None
