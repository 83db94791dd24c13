"""Spec of the equivariance of latents."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from anycodec.config.base import Spec
from anycodec.config.losses.base import Misfit


class EquivarianceSpec(Spec):
    """Shrunk or shifted latents decode to shrunk or shifted windows (EQ-VAE, arXiv 2502.09509).

    Nothing is mirrored or turned: reversed time or Doppler is unphysical.
    """

    weight: float = Field(0.5, ge=0, description="factor of the mean absolute difference")
    smallest_scale: float = Field(
        0.25, gt=0, le=1, description="latents are shrunk to at least this share of their size; 1 = never"
    )
    shift: bool = Field(
        True, description="whether latents are shifted along their last axis too, by parts of a position"
    )

    def misfits(self, codec: str) -> Iterator[Misfit]:
        """Why this can't work with a codec of this type."""
        if codec != "klvae":
            yield Misfit(
                "weight",
                f"codec {codec} has no continuous latents that could be shrunk or shifted",
                "use codec.type=klvae, or equivariance=null",
            )
        if self.smallest_scale == 1 and not self.shift:
            yield Misfit(
                "shift",
                "latents that are neither shrunk nor shifted are equivariant to nothing",
                "set equivariance.shift=true or equivariance.smallest_scale=0.25, or equivariance=null",
            )
