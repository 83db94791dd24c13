"""PatchGAN with residual blocks."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from anycodec.config.base import PositiveInt
from anycodec.config.discriminators.base import DiscriminatorBase, per_axis


class ResPatchGanSpec(DiscriminatorBase):
    """A logit a patch from long strided convolutions with residual blocks after each: for signals."""

    type: Literal["res_patchgan"] = "res_patchgan"
    channels: tuple[PositiveInt, ...] = Field(
        (64, 128, 256, 512), min_length=1, max_length=10, description="channels of each level"
    )
    kernel: int = Field(15, ge=2, le=255, description="length of the strided kernels")
    res_blocks: int = Field(2, ge=0, description="residual blocks a level")
    norm: Literal["group", "instance", "batch", "none"] = Field(
        "group", description="normalisation inside the blocks; batch can't have a gradient penalty"
    )

    depth_setting: ClassVar[str] = "channels"

    @property
    def couples_samples(self) -> bool:
        return self.norm == "batch"

    def smallest_window(self, axes: str) -> tuple[int, ...]:
        # two positions at the last level: normalising a single one would leave nothing of it
        return per_axis(axes, 2 * 2 ** len(self.channels))
