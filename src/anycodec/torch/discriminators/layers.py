"""Layers of discriminators on 1, 2 or 3 spatial axes.

Series travel as pictures [B C 1 T] of height 1, which is quicker on CPU (`layers/conv1d.py`).
Along the time of clips kernels have 3 frames, so that clips of a single frame can be judged too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from anycodec.torch.discriminators.actnorm import ActNorm
from anycodec.torch.discriminators.base import Judgement
from anycodec.torch.layers.conv1d import PaddedConv1d
from anycodec.torch.layers.norm import group_norm

SLOPE = 0.2
"""Of LeakyReLU below zero (Radford 2016)."""
GROUPS = 32
DEVIATION = 0.02
"""Of initial weights (Radford 2016)."""


def convolution(
    dims: int, in_channels: int, out_channels: int, kernel: int, *, stride: int, padding: int, bias: bool
) -> nn.Module:
    """Convolution along all axes, weights N(0, 0.02^2), bias 0."""
    conv: nn.Conv1d | nn.Conv2d | nn.Conv3d
    if dims == 1:
        conv = PaddedConv1d(in_channels, out_channels, kernel, stride, padding, bias=bias)
    elif dims == 2:
        conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=bias)
    else:
        conv = nn.Conv3d(
            in_channels,
            out_channels,
            (3, kernel, kernel),
            (stride, stride, stride),
            (1, padding, padding),
            bias=bias,
        )
    nn.init.normal_(conv.weight, 0.0, DEVIATION)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def has_bias(norm: str) -> bool:
    """Whether a convolution before such a normalisation needs a bias."""
    return norm in ("none", "actnorm")


def normalisation(norm: str, dims: int, channels: int) -> nn.Module:
    """Normalisation with an affine map a channel; weights N(1, 0.02^2) for batches as in pix2pix."""
    if norm == "none":
        return nn.Identity()
    if norm == "actnorm":
        return ActNorm(channels)
    if norm == "group":
        return group_norm(channels, GROUPS)
    if norm == "instance":
        return (nn.InstanceNorm3d if dims == 3 else nn.InstanceNorm2d)(channels, affine=True)
    batch = (nn.BatchNorm3d if dims == 3 else nn.BatchNorm2d)(channels)
    nn.init.normal_(batch.weight, 1.0, DEVIATION)
    return batch


def normalise_spectrally(module: nn.Module) -> None:
    """Divide the weight of each convolution by its largest singular value (Miyato 2018)."""
    for conv in list(module.modules()):
        if isinstance(conv, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            spectral_norm(conv)


def as_planes(x: Tensor) -> Tensor:
    """[B C *s] as the layers take it, channels last in the memory of a CPU."""
    x = x[:, :, None] if x.ndim == 3 else x
    if x.device.type != "cpu":
        return x
    return x.contiguous(memory_format=torch.channels_last_3d if x.ndim == 5 else torch.channels_last)


def as_windows(h: Tensor, dims: int) -> Tensor:
    """Inverse of `as_planes` for any number of channels."""
    return h.squeeze(2) if dims == 1 else h


def judge(x: Tensor, dims: int, levels: Iterable[nn.Module], head: Callable[[Tensor], Tensor]) -> Judgement:
    """Windows [B C *s] through one level after another, whose outputs are the features, to the logits."""
    h, features = as_planes(x), []
    for level in levels:
        h = level(h)
        features.append(as_windows(h, dims))
    return Judgement(as_windows(head(h), dims), tuple(features))
