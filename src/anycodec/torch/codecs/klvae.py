"""Variational autoencoder of latent diffusion (Rombach et al. 2021, arXiv 2112.10752)."""

from __future__ import annotations

from torch import Tensor, nn

from anycodec.config.codec import KlVaeSpec
from anycodec.torch.codecs.base import Autoencoder
from anycodec.torch.layers.autoencoder2d import Decoder2d, Encoder2d
from anycodec.torch.quantizers.kl import Kl


class KlVae(Autoencoder):
    """Encoder to 2z channels, of which the bottleneck makes means and variances; decoder of its samples.

    The bottleneck's linear map is what latent diffusion calls `quant_conv`.
    """

    decoder: Decoder2d

    def __init__(self, spec: KlVaeSpec, in_channels: int) -> None:
        super().__init__()
        self.stride = spec.stride
        self.encoder = Encoder2d(spec, in_channels, 2 * spec.latent_channels, nn.Identity())
        self.quantizer = Kl(spec.quantizer, 2 * spec.latent_channels, spec.code_channels)
        self.decoder = Decoder2d(spec, in_channels)

    def last_layer(self) -> Tensor:
        return self.decoder.conv_out.weight
