"""1-D convolutions computed as 2-D ones of height 1, channels last.

On CPU the channels-last 2-D kernels of oneDNN are 3 times faster than the 1-D ones in bf16 (AMX)
and no slower in fp32; activations travel as [B C 1 T]. Parameters keep the 1-D layout [O I k].
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Conv1d(nn.Conv1d):
    """Convolution of [B C 1 T] along T with SAME padding: T / stride samples come out."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = max(kernel - stride, 0)
        left, right = total // 2, total - total // 2
        weight = self.weight[:, :, None]
        if left == right:
            return F.conv2d(x, weight, self.bias, stride=(1, stride), padding=(0, left))
        return F.conv2d(F.pad(x, (left, right)), weight, self.bias, stride=(1, stride))


class PaddedConv1d(nn.Conv1d):
    """Convolution of [B C 1 T] along T with zeros at both ends, `padding` each."""

    def forward(self, x: Tensor) -> Tensor:
        stride, padding = (1, self.stride[0]), (0, int(self.padding[0]))
        return F.conv2d(x, self.weight[:, :, None], self.bias, stride=stride, padding=padding)


class ConvTranspose1d(nn.ConvTranspose1d):
    """Transposed convolution of [B C 1 T] along T."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        stride, padding = (1, self.stride[0]), (0, int(self.padding[0]))
        return F.conv_transpose2d(x, self.weight[:, :, None], self.bias, stride=stride, padding=padding)


class Upsample1d(nn.Module):
    """Convolution to C * factor channels, then interleaved along T: [B C 1 T] -> [B O 1 T * factor]."""

    def __init__(self, in_channels: int, out_channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = Conv1d(in_channels, out_channels * factor, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).permute(0, 2, 3, 1)  # [B 1 T O*f], contiguous in channels-last memory
        batch, _, length, width = y.shape
        y = y.reshape(batch, 1, length * self.factor, width // self.factor)
        out: Tensor = y.permute(0, 3, 1, 2)
        return out
