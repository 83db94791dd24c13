"""A small convolutional network whose features come place by place.

x [B C H W] or [B C 1 T] -> levels of (conv k3 stride 2, residual blocks) -> GroupNorm, swish -> [B F *h]
"""

from __future__ import annotations

from torch import Tensor, nn

from anycodec.config.features_run import FeatureNetworkSpec
from anycodec.torch.layers.autoencoder2d import ResBlock2d
from anycodec.torch.layers.norm import group_norm


class FeatureNetwork(nn.Module):
    """See the module.

    Args:
        spec: sizes.
        shape: (C, *s) of the windows, one or two spatial axes.
    """

    def __init__(self, spec: FeatureNetworkSpec, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.is_series = len(shape) == 2
        stride = (1, 2) if self.is_series else (2, 2)
        layers: list[nn.Module] = []
        before = shape[0]
        for width in spec.widths:
            layers.append(nn.Conv2d(before, width, 3, stride, padding=1))
            layers += [ResBlock2d(width, width, spec.norm_groups, 0.0) for _ in range(spec.res_blocks)]
            before = width
        self.layers = nn.Sequential(*layers, group_norm(before, spec.norm_groups), nn.SiLU())
        rows = 1 if self.is_series else -(-shape[1] // 2 ** len(spec.widths))
        self.width = before
        self.summary = before * rows

    def forward(self, x: Tensor) -> Tensor:
        """Windows [B C *s] -> features of each place [B F *h]."""
        maps: Tensor = self.layers(x[:, :, None] if self.is_series else x)
        return maps.squeeze(2) if self.is_series else maps

    def summarised(self, x: Tensor) -> Tensor:
        """Windows [B C *s] -> means over time, the last axis [B V].

        Rows stay apart: those of a spectrogram are frequencies and mean different things.
        """
        return self.forward(x).mean(dim=-1).flatten(1)
