"""Bonito's checkpoint as its publisher lays it out, with random numbers in it, and its network unfolded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from anycodec.torch.basecallers.quartznet import BlockSpec

SMALL = (
    BlockSpec(8, 1, 9, stride=3, separable=False),
    BlockSpec(8, 2, 5, residual=True),
    BlockSpec(12, 2, 7, residual=True),
    BlockSpec(16, 1, 1, separable=False),
)
"""A network of the same kind that is computed in no time."""


class Published(nn.Module):
    """QuartzNet with its BatchNorm, as Bonito's configuration describes it."""

    def __init__(self, blocks: Sequence[BlockSpec]) -> None:
        super().__init__()
        self.encoder = nn.Module()
        width, layers = 1, []
        for spec in blocks:
            layers.append(PublishedBlock(width, spec))
            width = spec.filters
        self.encoder.encoder = nn.ModuleList(layers)
        self.decoder = nn.Module()
        self.decoder.layers = nn.Sequential(nn.Conv1d(width, 5, 1))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.encoder.encoder:
            x = block(x)
        return self.decoder.layers(x).transpose(1, 2).log_softmax(2)


class PublishedBlock(nn.Module):
    def __init__(self, width: int, spec: BlockSpec) -> None:
        super().__init__()
        self.conv = nn.ModuleList()
        for i in range(spec.repeat):
            inputs = width if i == 0 else spec.filters
            self.conv.append(convolution(inputs, spec))
            self.conv.append(nn.BatchNorm1d(spec.filters, eps=1e-3))
            if i < spec.repeat - 1:
                self.conv.extend([nn.ReLU(), nn.Dropout(0.0)])
        if spec.residual:
            one = BlockSpec(spec.filters, 1, 1, separable=False)
            self.residual = nn.Sequential(convolution(width, one), nn.BatchNorm1d(spec.filters, eps=1e-3))

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in self.conv:
            h = layer(h)
        if hasattr(self, "residual"):
            h = h + self.residual(x)
        return h.relu()


def convolution(width: int, spec: BlockSpec) -> nn.Sequential:
    pad = spec.kernel // 2
    if not spec.separable:
        conv = nn.Conv1d(width, spec.filters, spec.kernel, spec.stride, pad, bias=False)
        return nn.Sequential(OrderedDict(conv=conv))
    depthwise = nn.Conv1d(width, width, spec.kernel, padding=pad, groups=width, bias=False)
    return nn.Sequential(
        OrderedDict(depthwise=depthwise, pointwise=nn.Conv1d(width, spec.filters, 1, bias=False))
    )


def published(blocks: Sequence[BlockSpec] = SMALL) -> Published:
    """With statistics and gains that BatchNorm does not start with."""
    torch.manual_seed(0)
    network = Published(blocks).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.3, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return network


def save(path: Path, network: nn.Module) -> Path:
    """As a data-parallel training saves it."""
    torch.save({f"module.{name}": tensor for name, tensor in network.state_dict().items()}, path)
    return path
