"""Trellis-coded samples and the network that restores the signal.

x [B 1 T] -> tokens [B T], one a sample
tokens -> z [B 1 T] -> fold [B f T/f] -> conv -> residual blocks -> conv -> unfold -> x^ = z + step h [B 1 T]
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.codec import TrellisCodecSpec
from anycodec.errors import ConfigError, UserError
from anycodec.torch.codecs.base import Autoencoder
from anycodec.torch.layers.conv1d import Conv1d
from anycodec.torch.quantizers.trellis import Trellis


class Restorer(nn.Module):
    """Samples in steps [B 1 T] -> [B 1 T]: adds the mean of what rounding took, given all samples around.

    Blocks are x + f(x), f = swish, conv, swish, 1x1. Without norms, so that all samples of a window but those
    within reach could be others and nothing would change.
    """

    def __init__(self, spec: TrellisCodecSpec) -> None:
        super().__init__()
        self.fold, self.step = spec.fold, spec.quantizer.step
        self.conv_in = Conv1d(spec.fold, spec.channels, spec.kernel)
        self.blocks = nn.ModuleList(Block(spec.channels, spec.kernel) for _ in range(spec.blocks))
        self.conv_out = Conv1d(spec.channels, spec.fold, spec.kernel)

    def forward(self, z: Tensor) -> Tensor:
        batch, _, length = z.shape
        folded = z.reshape(batch, 1, length // self.fold, self.fold).permute(0, 3, 1, 2)
        h = self.conv_in(folded)
        for block in self.blocks:
            h = block(h)
        lost: Tensor = self.conv_out(F.silu(h)).permute(0, 2, 3, 1).reshape(batch, 1, length)
        return z + self.step * lost


class Block(nn.Module):
    """See `Restorer`."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = Conv1d(channels, channels, kernel)
        self.conv2 = Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(F.silu(self.conv1(F.silu(x))))
        return out


class TrellisCodec(Autoencoder):
    """Quantizer and restorer; the encoder does nothing."""

    decoder: Restorer

    def __init__(self, spec: TrellisCodecSpec, in_channels: int) -> None:
        super().__init__()
        if in_channels > 1:
            mistake = UserError(
                f"the codec trellis takes windows of one channel, these have {in_channels}",
                where="data.channels",
                how="use data.channels=independent, or another codec",
            )
            raise ConfigError([mistake])
        self.stride = spec.stride
        self.encoder = nn.Identity()
        self.quantizer = Trellis(spec.quantizer)
        self.decoder = Restorer(spec)

    def last_layer(self) -> Tensor:
        return self.decoder.conv_out.weight
