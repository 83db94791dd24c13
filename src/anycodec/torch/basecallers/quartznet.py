"""QuartzNet for nanopore current (Kriman 2019, arXiv 1910.10261), for inference: BatchNorm is folded.

Axes: N reads, C channels, T samples, F frames (T / 3, rounded up), K labels. The network runs on
[N C 1 T] in the channels-last layout, in which the depthwise convolutions are several times as fast on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LABELS = ("", "A", "C", "G", "T")
"""What the K outputs of a frame stand for; the first is CTC's blank."""


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """`repeat` convolutions with ReLU; the residual path joins before the last ReLU.

    Attributes:
        filters: channels of the output.
        repeat: convolutions.
        kernel: samples or frames that each sees, odd.
        stride: of the first and only convolution of a block without repeats.
        residual: whether a 1x1 convolution of the input is added.
        separable: a convolution along time by channel, then one over channels.
    """

    filters: int
    repeat: int
    kernel: int
    stride: int = 1
    residual: bool = False
    separable: bool = True


BONITO_R941: tuple[BlockSpec, ...] = (
    BlockSpec(256, 1, 33, stride=3, separable=False),
    BlockSpec(256, 5, 33, residual=True),
    BlockSpec(256, 5, 39, residual=True),
    BlockSpec(512, 5, 51, residual=True),
    BlockSpec(512, 5, 63, residual=True),
    BlockSpec(512, 5, 75, residual=True),
    BlockSpec(512, 1, 87),
    BlockSpec(1024, 1, 1, separable=False),
)
"""`dna_r9.4.1/config.toml` of ont-bonito 0.1.5: 6.68 M parameters with BatchNorm's."""


class QuartzNet(nn.Module):
    """[N 1 T] normalised current -> log-probabilities [N F K] of the labels.

    Args:
        blocks: the encoder.
    """

    def __init__(self, blocks: Sequence[BlockSpec]) -> None:
        super().__init__()
        widths = [1, *(block.filters for block in blocks)]
        self.blocks = nn.ModuleList(Block(width, spec) for width, spec in zip(widths, blocks, strict=False))
        self.head = nn.Conv2d(widths[-1], len(LABELS), 1)
        self.stride = 1
        self.margin = 0
        for block in blocks:
            self.margin += block.repeat * (block.kernel // 2) * self.stride
            self.stride *= block.stride
        self.margin = -(-self.margin // self.stride) * self.stride
        self.requires_grad_(False)

    stride: int
    """Samples a frame."""
    margin: int
    """Samples to either side that a frame can see, rounded up to whole frames."""

    def forward(self, current: Tensor) -> Tensor:
        h = current[:, :, None, :].to(memory_format=torch.channels_last)
        for block in self.blocks:
            h = block(h)
        logits: Tensor = self.head(h).squeeze(2).transpose(1, 2)
        return logits.float().log_softmax(dim=2)


class Block(nn.Module):
    """[N C 1 T] -> [N filters 1 T / stride]."""

    def __init__(self, channels: int, spec: BlockSpec) -> None:
        super().__init__()
        kind = Separable if spec.separable else Plain
        inputs = [channels, *[spec.filters] * (spec.repeat - 1)]
        self.convs = nn.ModuleList(kind(width, spec) for width in inputs)
        self.residual = nn.Conv2d(channels, spec.filters, 1) if spec.residual else None

    def forward(self, x: Tensor) -> Tensor:
        *first, last = self.convs
        h = x
        for conv in first:
            h = conv(h).relu_()
        out: Tensor = last(h)
        if self.residual is not None:
            out = out.add_(self.residual(x))
        return out.relu_()


class Plain(nn.Conv2d):
    """A convolution over time and channels at once."""

    def __init__(self, channels: int, spec: BlockSpec) -> None:
        pad = (0, spec.kernel // 2)
        super().__init__(channels, spec.filters, (1, spec.kernel), (1, spec.stride), pad)


class Separable(nn.Module):
    """A convolution along time by channel, then one over channels."""

    def __init__(self, channels: int, spec: BlockSpec) -> None:
        super().__init__()
        size, pad = (1, spec.kernel), (0, spec.kernel // 2)
        self.depthwise = nn.Conv2d(channels, channels, size, padding=pad, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, spec.filters, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise(self.depthwise(x))
        return out
