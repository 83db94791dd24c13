"""The U-Net of latent diffusion (Ho et al. 2020, arXiv 2006.11239; Rombach et al. 2022, arXiv 2112.10752)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.generators.unet import UnetSpec
from anycodec.errors import UserError
from anycodec.torch.generators.base import Generator
from anycodec.torch.optional import from_diffusers

_TIME_SCALE = 1000.0
"""The sinusoids of the time embedding are made for time steps up to about this number."""


class UNet(Generator):
    """diffusers' UNet2DModel; labels are embedded and added to the time embedding.

    Raises:
        UserError: latents that the spec does not fit.
        MissingExtra: diffusers is not installed.
    """

    def __init__(self, spec: UnetSpec, shape: tuple[int, ...], n_classes: int) -> None:
        super().__init__()
        misfit = spec.misfit(shape)
        if misfit:
            raise UserError(misfit.what, where=f"generator.{misfit.setting}", how=misfit.how)
        self.shape, self.n_classes = shape, n_classes
        self.factor = spec.factor
        self.net: nn.Module = from_diffusers("UNet2DModel")(
            in_channels=shape[0],
            out_channels=shape[0],
            block_out_channels=spec.channels,
            down_block_types=_block_types(spec, "Down"),
            up_block_types=_block_types(spec, "Up")[::-1],
            layers_per_block=spec.res_blocks,
            attention_head_dim=spec.head_width,
            norm_num_groups=_groups(spec),
            dropout=spec.dropout,
            num_class_embeds=n_classes + 1,
        )

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        height, width = x.shape[2:]
        padded = F.pad(x, (0, -width % self.factor, 0, -height % self.factor))
        out: Tensor = self.net(padded, _TIME_SCALE * t, labels, return_dict=False)[0]
        return out[..., :height, :width]


def _block_types(spec: UnetSpec, direction: str) -> tuple[str, ...]:
    """diffusers' names of the blocks of each resolution, from the latents' own on."""
    levels = range(len(spec.channels))
    return tuple(f"{'Attn' * (i in spec.attention_levels)}{direction}Block2D" for i in levels)


def _groups(spec: UnetSpec) -> int:
    """The largest number of groups up to `norm_groups` that divides all widths, thus those of skips too."""
    common = math.gcd(*spec.channels)
    return max(n for n in range(1, spec.norm_groups + 1) if common % n == 0)
