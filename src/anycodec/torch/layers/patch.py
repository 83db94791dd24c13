"""A linear path around an autoencoder: raw patches to latents and back."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class PatchPath(nn.Module):
    """Patches of `stride` values along each of *s <-> latents, inverse to each other at the start.

    Where D >= C * prod(stride) the analysis is an isometry: distances of latents are distances of
    raw patches, and a codec whose networks start at zero starts as vector quantisation of raw
    patches. Training then only has to improve on that.

    Args:
        channels: C of the windows.
        dim: D of the latents.
        stride: patch extent along each of *s, one to three axes.
    """

    def __init__(self, channels: int, dim: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.channels = channels
        self.stride = tuple(stride)
        values = channels * math.prod(stride)
        self.analysis = nn.Linear(values, dim, bias=False)
        self.synthesis = nn.Linear(dim, values, bias=False)
        nn.init.orthogonal_(self.analysis.weight)
        with torch.no_grad():
            # the pseudo-inverse of a matrix with orthonormal rows or columns
            self.synthesis.weight.copy_(self.analysis.weight.T)

    @torch.no_grad()
    def start_with_low_frequencies(self) -> None:
        """Start where D < C * prod(stride) with most of a picture's energy, not with a random part of it."""
        basis = low_frequencies((self.channels, *self.stride), len(self.analysis.weight))
        self.analysis.weight.copy_(basis)
        self.synthesis.weight.copy_(basis.T)

    def analyse(self, x: Tensor) -> Tensor:
        """[B C *s] -> [B D *g], in float32."""
        with torch.autocast(x.device.type, enabled=False):
            axes = len(self.stride)
            split: list[int] = []
            for size, step in zip(x.shape[2:], self.stride, strict=True):
                split += [size // step, step]
            parts = x.float().reshape(*x.shape[:2], *split)  # [B C g1 f1 (g2 f2)]
            grid = [2 + 2 * axis for axis in range(axes)]
            inner = [3 + 2 * axis for axis in range(axes)]
            patches = parts.permute(0, *grid, 1, *inner).flatten(1 + axes)
            z: Tensor = self.analysis(patches)
            return z.movedim(-1, 1)

    def synthesise(self, z: Tensor) -> Tensor:
        """[B D *g] -> [B C *s], in float32."""
        with torch.autocast(z.device.type, enabled=False):
            axes = len(self.stride)
            patches: Tensor = self.synthesis(z.float().movedim(1, -1))
            parts = patches.reshape(*patches.shape[:-1], self.channels, *self.stride)
            order = [0, 1 + axes]
            for axis in range(axes):
                order += [1 + axis, 2 + axes + axis]
            size = [grid * step for grid, step in zip(z.shape[2:], self.stride, strict=True)]
            return parts.permute(*order).reshape(len(z), self.channels, *size)


def low_frequencies(shape: Sequence[int], count: int) -> Tensor:
    """The `count` functions of lowest frequency of the discrete cosine transform (DCT-II), orthonormal.

    Args:
        shape: extents of a patch; over three colours the transform gives brightness and two differences.
        count: at most prod(shape).

    Returns:
        [count prod(shape)], in rising order of the sum of squared wave numbers.
    """
    axes = [_cosines(extent) for extent in shape]
    waves = sorted(itertools.product(*map(range, shape)), key=lambda wave: sum(k * k for k in wave))
    rows = [
        functools.reduce(torch.kron, (axis[k] for axis, k in zip(axes, wave, strict=True)))
        for wave in waves[:count]
    ]
    return torch.stack(rows).float()


def _cosines(extent: int) -> Tensor:
    """Row k is sqrt((2 - [k = 0]) / n) cos(pi k (i + 1/2) / n) over i; [n n] in float64."""
    k = torch.arange(extent, dtype=torch.float64)
    rows = torch.cos(math.pi * k[:, None] * (k + 0.5) / extent) * math.sqrt(2 / extent)
    rows[0] /= math.sqrt(2)
    return rows


def zero_(layer: nn.Module) -> None:
    """Set all parameters of a layer to zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
