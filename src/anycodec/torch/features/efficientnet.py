"""EfficientNet-lite0, a classifier of ImageNet whose features compare sets of pictures.

Tan 2019 (1905.11946) without squeeze-and-excitation and with ReLU6 (TensorFlow's `efficientnet/lite`):

    picture -> conv 3x3 /2 -> 16 inverted bottlenecks -> conv 1x1 -> mean over pixels -> features

    bottleneck: x -> conv 1x1 -> depthwise conv /s -> conv 1x1 (-> + x where shapes agree)

Every convolution is followed by BatchNorm and, but for the last of a bottleneck, by ReLU6.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from anycodec.engine import PictureFeatures
from anycodec.errors import WeightsError
from anycodec.torch.features.published import load_published
from anycodec.torch.importers.base import adopt
from anycodec.torch.importers.files import read_tensors

NAME = "efficientnet-lite0"
WIDTH = 1280
"""Of the features."""
STEM = 32
EPSILON = 1e-3
"""Of BatchNorm, as TensorFlow trained it."""


class Stage(NamedTuple):
    """Bottlenecks of one width; the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""Table 1 of the paper."""


class NormedConv(nn.Module):
    """Convolution with TensorFlow's padding `SAME`, BatchNorm and, if wanted, ReLU6."""

    def __init__(
        self,
        inside: int,
        outside: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outside, eps=EPSILON)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.conv.kernel_size, self.conv.stride
        # what `SAME` lacks is added evenly, an odd rest at the end
        lacking = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in (x.shape[3], x.shape[2])]
        h: Tensor = self.norm(self.conv(F.pad(x, [side for n in lacking for side in (n // 2, n - n // 2)])))
        return F.relu6(h) if self.relu else h


class Bottleneck(nn.Module):
    """Inverted residual bottleneck (MobileNetV2)."""

    def __init__(self, inside: int, outside: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inside * stage.expansion
        self.expand = NormedConv(inside, wide) if stage.expansion > 1 else nn.Identity()
        self.depthwise = NormedConv(wide, wide, stage.kernel, stride, groups=wide)
        self.project = NormedConv(wide, outside, relu=False)
        self.skips = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + h if self.skips else h


class EfficientNetLite0(nn.Module):
    """Frozen, in evaluation mode. A new one has random weights: `load_features` gives the published ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = NormedConv(3, STEM, 3, stride=2)
        self.blocks = nn.ModuleList()
        width = STEM
        for stage in STAGES:
            for i in range(stage.repeats):
                self.blocks.append(Bottleneck(width, stage.width, stage, stage.stride if i == 0 else 1))
                width = stage.width
        self.head = NormedConv(width, WIDTH)
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [N 3 H W], as it was trained on them -> features [N 1280] in [0, 6]."""
        h = self.stem(pictures)
        for block in self.blocks:
            h = block(h)
        features: Tensor = self.head(h).mean(dim=(2, 3))
        return features


def convert_efficientnet(files: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """The state of `EfficientNetLite0` from a published file (`efficientnet-lite0-*.pth`).

    Raises:
        WeightsError: unreadable, unsafe, or of another network; lists what does not fit.
    """
    if len(files) != 1:
        raise WeightsError(f"{NAME} is one file, not {len(files)}", how="give --from once")
    names = {"stem.conv": "_conv_stem", "stem.norm": "_bn0", "head.conv": "_conv_head", "head.norm": "_bn1"}
    network = EfficientNetLite0()
    for i, block in enumerate(network.blocks):
        for part, (conv, norm) in _PARTS.items():
            if part != "expand" or isinstance(block.expand, NormedConv):
                names[f"blocks.{i}.{part}.conv"] = f"_blocks.{i}.{conv}"
                names[f"blocks.{i}.{part}.norm"] = f"_blocks.{i}.{norm}"
    tensors = read_tensors(files[0])
    try:
        return adopt(network, tensors, names, unused=("_fc",))
    except WeightsError as error:
        raise WeightsError(
            error.what, where=str(files[0]), how="give the file efficientnet-lite0-57934424.pth"
        ) from error


_PARTS = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
"""Ours -> the published convolution and its BatchNorm."""


def load_features(device: torch.device) -> PictureFeatures:
    """Features of pictures [N 3 H W], with the published weights from the cache.

    Raises:
        WeightsError: they are not there or damaged; says which command gets them.
    """
    network = EfficientNetLite0()
    load_published(network, NAME)
    network.to(device)

    @torch.inference_mode()
    def features(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = network(torch.from_numpy(pictures).to(device)).cpu().numpy()
        return found

    return features
