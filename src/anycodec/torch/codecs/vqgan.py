"""2-D autoencoder of VQGAN (Esser et al. 2021, arXiv 2012.09841)."""

from __future__ import annotations

from torch import Tensor, nn

from anycodec.config.codec import VqganSpec
from anycodec.torch.codecs.base import Autoencoder
from anycodec.torch.layers.autoencoder2d import Decoder2d, Encoder2d
from anycodec.torch.layers.patch import PatchPath
from anycodec.torch.quantizers import make_quantizer


class Vqgan(Autoencoder):
    """Encoder and decoder around any quantizer."""

    decoder: Decoder2d

    def __init__(self, spec: VqganSpec, in_channels: int) -> None:
        super().__init__()
        self.stride = spec.stride
        quant_conv = nn.Conv2d(spec.latent_channels, spec.code_channels, 1)
        self.encoder = Encoder2d(spec, in_channels, spec.latent_channels, quant_conv)
        self.quantizer = make_quantizer(spec.quantizer, spec.code_channels)
        self.decoder = Decoder2d(spec, in_channels)
        if spec.patch_skip:
            patches = PatchPath(in_channels, spec.code_channels, spec.stride)
            self._start_with(patches, quant_conv, self.decoder.conv_out)

    def last_layer(self) -> Tensor:
        return self.decoder.conv_out.weight
