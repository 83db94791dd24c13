"""Causal layers for video [B C T H W]: nothing that comes out depends on a later frame.

A layer that looks k - s frames back (k its kernel, s its stride in time) finds them in a `Past`:

    chunk 1          chunk 2          chunk 3             layer(x, past) of each chunk in order
    f f|f f f f  ->  f f|f f f f  ->  f f|f f f f         = layer(x) of the whole
    ^^^ the first frame repeated: before the video nothing moved

Zeros in place of the repeated frame would make the beginning of each video look like a cut from
black. The past is short and made of frames that were computed, so its size is that of a few frames
whatever the length of the video.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.torch.layers.norm import group_norm

Past = dict[nn.Module, Tensor]
"""The last input frames [B C k-s H W] of each layer, between the chunks of one video; {} = its start."""


class CausalConv3d(nn.Conv3d):
    """Convolution whose kernel ends at the present frame; SAME padding in space.

    T / stride frames come out, computed from chunks whose T is a multiple of the stride.

    Args:
        in_channels: C that comes in.
        out_channels: C that goes out.
        kernel: extent in time and in space, none below its stride.
        stride: downsampling in time and in space.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)
    ) -> None:
        (time, space), (time_stride, space_stride) = kernel, stride
        super().__init__(
            in_channels,
            out_channels,
            (time, space, space),
            stride=(time_stride, space_stride, space_stride),
        )
        self.kept = time - time_stride
        total = space - space_stride
        self.before, self.after = total // 2, total - total // 2

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        x = self._with_past(x, past)
        if self.before == self.after:
            padding = (0, self.before, self.before)
            return F.conv3d(x, self.weight, self.bias, self.stride, padding)
        x = F.pad(x, (self.before, self.after, self.before, self.after))
        return F.conv3d(x, self.weight, self.bias, self.stride)

    def _with_past(self, x: Tensor, past: Past | None) -> Tensor:
        if not self.kept:
            return x
        earlier = None if past is None else past.get(self)
        if earlier is None:
            earlier = x[:, :, :1].expand(-1, -1, self.kept, -1, -1)
        x = torch.cat([earlier, x], dim=2)
        if past is not None:
            past[self] = x[:, :, -self.kept :].clone()
        return x


class CausalUpsample3d(nn.Module):
    """Convolution to C * ft * fs^2 channels, laid out in time and space: [B C T H W] -> [B O T*ft H*fs W*fs].

    Each frame in gives ft frames out, so that no frame waits for the next one.
    """

    def __init__(self, in_channels: int, out_channels: int, factor: tuple[int, int]) -> None:
        super().__init__()
        self.factor = factor
        time, space = factor
        self.conv = CausalConv3d(in_channels, out_channels * time * space * space, (3, 3))

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        time, space = self.factor
        y: Tensor = self.conv(x, past).permute(0, 2, 3, 4, 1)  # contiguous in channels-last memory
        b, t, h, w, _ = y.shape
        y = y.reshape(b, t, h, w, time, space, space, -1).permute(0, 7, 1, 4, 2, 5, 3, 6)
        y = y.reshape(b, -1, t * time, h * space, w * space)
        return y.contiguous(memory_format=torch.channels_last_3d)


class FrameNorm(nn.Module):
    """GroupNorm of each frame by itself: statistics over time would look ahead."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2)
        normed: Tensor = self.norm(frames.flatten(0, 1))
        return normed.reshape(frames.shape).transpose(1, 2)


class CausalResBlock3d(nn.Module):
    """x + f(x), f = two of (norm of each frame, swish, conv k3); a 1x1x1 shortcut where widths differ."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = FrameNorm(in_channels, groups)
        self.conv1 = CausalConv3d(in_channels, out_channels, (3, 3))
        self.norm2 = FrameNorm(out_channels, groups)
        self.conv2 = CausalConv3d(out_channels, out_channels, (3, 3))
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)), past)
        h = self.conv2(F.silu(self.norm2(h)), past)
        out: Tensor = self.shortcut(x) + h
        return out


class CausalSequential(nn.ModuleList):
    """Causal layers, one after the other."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__(layers)

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        for layer in self:
            x = layer(x, past)
        return x
