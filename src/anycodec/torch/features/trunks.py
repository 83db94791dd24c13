"""Convolutional trunks of the classifiers that LPIPS looks through (torchvision's layouts).

Features are taken after the last ReLU of each stage:

    picture -> [conv ReLU]xN -> f0 -> max-pool -> [conv ReLU]xN -> f1 -> ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Stage:
    """Convolutions of one resolution.

    Attributes:
        widths: channels after each of them.
        kernel: their extent.
        stride: of the first.
        pool: extent of the max-pooling (stride 2) before them, None for none.
    """

    widths: tuple[int, ...]
    kernel: int = 3
    stride: int = 1
    pool: int | None = None

    @property
    def padding(self) -> int:
        return 2 if self.stride > 1 else self.kernel // 2


STAGES: Mapping[str, tuple[Stage, ...]] = MappingProxyType(
    {
        # Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks"
        "alex": (
            Stage((64,), kernel=11, stride=4),
            Stage((192,), kernel=5, pool=3),
            Stage((384,), pool=3),
            Stage((256,)),
            Stage((256,)),
        ),
        # Simonyan 2015, configuration D
        "vgg": (
            Stage((64, 64)),
            Stage((128, 128), pool=2),
            Stage((256, 256, 256), pool=2),
            Stage((512, 512, 512), pool=2),
            Stage((512, 512, 512), pool=2),
        ),
    }
)


class Trunk(nn.Module):
    """The convolutions of a classifier, without its head.

    Args:
        net: a key of `STAGES`.
    """

    def __init__(self, net: str) -> None:
        super().__init__()
        self.stages = STAGES[net]
        self.convs = nn.ModuleList()
        channels = 3
        for stage in self.stages:
            for i, width in enumerate(stage.widths):
                stride = stage.stride if i == 0 else 1
                self.convs.append(nn.Conv2d(channels, width, stage.kernel, stride, stage.padding))
                channels = width

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage's features."""
        return tuple(stage.widths[-1] for stage in self.stages)

    def forward(self, x: Tensor) -> Iterator[Tensor]:
        """Pictures [N 3 H W], as the classifier wants them -> features [N C h w], stage by stage."""
        convs = iter(self.convs)
        for stage in self.stages:
            if stage.pool is not None:
                x = F.max_pool2d(x, stage.pool, stride=2)
            for _ in stage.widths:
                x = F.relu(next(convs)(x), inplace=True)
            yield x
