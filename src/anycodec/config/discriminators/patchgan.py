"""PatchGAN."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from anycodec.config.base import PositiveInt
from anycodec.config.discriminators.base import DiscriminatorBase, per_axis


class PatchGanSpec(DiscriminatorBase):
    """A logit a patch from a few strided convolutions (Isola 2017; as taming and dome272 have it).

    With base_channels 64, layers 3 a logit sees 70 values along each axis.
    """

    type: Literal["patchgan"] = "patchgan"
    base_channels: PositiveInt = Field(
        64, description="channels of the first layer; doubled a layer, up to 8x"
    )
    layers: int = Field(3, ge=1, le=8, description="layers that halve the extent of the window")
    norm: Literal["batch", "instance", "group", "actnorm", "none"] = Field(
        "batch",
        description="normalisation of the layers after the first; batch can't have a gradient penalty",
    )

    depth_setting: ClassVar[str] = "layers"

    @property
    def couples_samples(self) -> bool:
        return self.norm == "batch"

    def smallest_window(self, axes: str) -> tuple[int, ...]:
        # two more convolutions of kernel 4 and padding 1 take one value each
        return per_axis(axes, 3 * 2**self.layers)
