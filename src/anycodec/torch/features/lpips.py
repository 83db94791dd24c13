"""LPIPS, the learned perceptual distance of pictures (Zhang 2018, version 0.1)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anycodec.engine import LpipsNet, PictureDistance
from anycodec.torch.features.published import load_published
from anycodec.torch.features.trunks import Trunk
from anycodec.torch.layers.memory import channels_last

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
"""From [-1, 1] to what the classifiers were trained on: ImageNet's statistics, RGB."""
EPSILON = 1e-8
"""Added to a feature vector's squared length: bounds the gradient where all features are zero."""


class Lpips(nn.Module):
    """d(x, y) = sum over stages of mean over h, w of head . (f(x) / |f(x)| - f(y) / |f(y)|)^2.

    Frozen. A new one has random weights: `load_lpips` gives the published ones.

    Args:
        net: vgg or alex.
        bf16: convolve in bfloat16, and compare in float32 all the same.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: str, *, bf16: bool = False) -> None:
        super().__init__()
        self.bf16 = bf16
        self.trunk = Trunk(net)
        self.heads = nn.ParameterList([torch.rand(width) for width in self.trunk.widths])
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """Distance of each picture, [N] in float32.

        Args:
            x: pictures [N C H W] in [-1, 1], RGB or grey (C 3 or 1), at least `SMALLEST` pixels a side.
            reference: the same; no gradient flows to it.
        """
        with torch.autocast(x.device.type, enabled=False):
            with torch.no_grad():
                wanted = [_unit(feature) for feature in self._features(reference)]
            total = torch.zeros(len(x), device=x.device)
            for feature, unit, head in zip(self._features(x), wanted, self.heads, strict=True):
                squared = (_unit(feature) - unit).square()
                total = total + torch.einsum("nchw,c->nhw", squared, head).mean(dim=(1, 2))
            return total

    def _features(self, pictures: Tensor) -> list[Tensor]:
        rgb = pictures.float().expand(-1, 3, -1, -1)
        seen = channels_last((rgb - self.shift) / self.scale)
        with torch.autocast(rgb.device.type, torch.bfloat16, enabled=self.bf16):
            features = list(self.trunk(seen))
        return [feature.float() for feature in features]


def _unit(features: Tensor) -> Tensor:
    """[N C h w] with vectors of length 1 along C."""
    return features * torch.rsqrt(features.square().sum(dim=1, keepdim=True) + EPSILON)


def picture_distance(net: LpipsNet, device: torch.device) -> PictureDistance:
    """LPIPS of two pictures [H W 3] in [0, 1].

    Raises:
        WeightsError: as `load_lpips`.
    """
    lpips = load_lpips(net).to(device)

    def network_input(picture: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(picture).to(device).movedim(2, 0)[None] * 2 - 1

    def distance(picture: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
        with torch.no_grad():
            return float(lpips(network_input(picture), network_input(reference)))

    return distance


def load_lpips(net: str, *, bf16: bool = False) -> Lpips:
    """LPIPS with the published weights from the cache, on the CPU.

    Args:
        net: vgg or alex.
        bf16: as in `Lpips`.

    Raises:
        WeightsError: they are not there, or the file is damaged; says which command mends it.
    """
    lpips = Lpips(net, bf16=bf16)
    load_published(lpips, f"lpips-{net}")
    return lpips
