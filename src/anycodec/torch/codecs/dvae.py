"""2-D autoencoder of DALL-E's discrete VAE (Ramesh et al. 2021, arXiv 2102.12092, appendix A).

x [B C H W] -> conv k7 -> groups of residual blocks, max pooling by 2 between -> ReLU, 1x1 -> [B D H/f W/f]
back: groups of residual blocks, nearest x2 between -> ReLU, 1x1 -> x^ [B C H W]
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from anycodec.config.codecs.dvae import DvaeSpec
from anycodec.torch.codecs.base import Autoencoder
from anycodec.torch.layers.patch import PatchPath
from anycodec.torch.quantizers import make_quantizer

ENCODER_KERNELS = (3, 3, 3, 1)
DECODER_KERNELS = (1, 3, 3, 3)


class DvaeBlock(nn.Module):
    """s(x) + f(x) / n^2 with n blocks in the network, f = four of (ReLU, conv) a quarter as wide inside.

    s is a 1x1 convolution where widths differ, else the identity.
    """

    def __init__(self, in_channels: int, out_channels: int, kernels: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        hidden = out_channels // 4
        widths = pairwise([in_channels, *[hidden] * (len(kernels) - 1), out_channels])
        layers: list[nn.Module] = []
        for (a, b), kernel in zip(widths, kernels, strict=True):
            layers += [nn.ReLU(), nn.Conv2d(a, b, kernel, padding=kernel // 2)]
        self.residual = nn.Sequential(*layers)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)
        self.gain = 1 / blocks**2

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + self.gain * self.residual(x)
        return out


def _groups(
    spec: DvaeSpec, widths: list[int], kernels: tuple[int, ...], resample: Callable[[], nn.Module]
) -> nn.Sequential:
    """A group for each pair of neighbouring widths, with `resample` between them."""
    blocks = spec.group_count * spec.res_blocks
    layers: list[nn.Module] = []
    for group, (narrow, wide) in enumerate(pairwise(widths)):
        if group:
            layers.append(resample())
        inside = pairwise([narrow] + [wide] * spec.res_blocks)
        layers.append(nn.Sequential(*(DvaeBlock(a, b, kernels, blocks) for a, b in inside)))
    return nn.Sequential(*layers)


class DvaeEncoder(nn.Module):
    """[B C H W] -> latents [B D H/f W/f]."""

    def __init__(self, spec: DvaeSpec, in_channels: int) -> None:
        super().__init__()
        widths = [spec.base_channels * group for group in range(1, spec.group_count + 1)]
        self.conv_in = nn.Conv2d(in_channels, spec.base_channels, 7, padding=3)
        self.groups = _groups(spec, [spec.base_channels, *widths], ENCODER_KERNELS, lambda: nn.MaxPool2d(2))
        self.conv_out = nn.Conv2d(widths[-1], spec.latent_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.conv_out(self.groups(self.conv_in(x)).relu())
        return z


class DvaeDecoder(nn.Module):
    """Latents [B D H/f W/f] -> [B C H W]."""

    def __init__(self, spec: DvaeSpec, out_channels: int) -> None:
        super().__init__()
        widths = [spec.base_channels * group for group in range(spec.group_count, 0, -1)]
        self.groups = _groups(
            spec,
            [spec.latent_channels, *widths],
            DECODER_KERNELS,
            lambda: nn.UpsamplingNearest2d(scale_factor=2),
        )
        self.conv_out = nn.Conv2d(spec.base_channels, out_channels, 1)

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.conv_out(self.groups(z).relu())
        return x


class Dvae(Autoencoder):
    """Encoder and decoder around any quantizer."""

    decoder: DvaeDecoder

    def __init__(self, spec: DvaeSpec, in_channels: int) -> None:
        super().__init__()
        self.stride = spec.stride
        self.encoder = DvaeEncoder(spec, in_channels)
        self.quantizer = make_quantizer(spec.quantizer, spec.latent_channels)
        self.decoder = DvaeDecoder(spec, in_channels)
        if spec.patch_skip:
            patches = PatchPath(in_channels, spec.latent_channels, spec.stride)
            self._start_with(patches, self.encoder.conv_out, self.decoder.conv_out)

    def last_layer(self) -> Tensor:
        return self.decoder.conv_out.weight
