"""Variational autoencoder of latent diffusion (Rombach et al. 2021, arXiv 2112.10752)."""

from __future__ import annotations

from torch import Tensor, nn

from anycodec.config.codec import KlVaeSpec
from anycodec.torch.codecs.base import Autoencoder, CodecOutput
from anycodec.torch.layers.autoencoder2d import Decoder2d, Encoder2d
from anycodec.torch.layers.labels import LabelCondition
from anycodec.torch.quantizers import Quantized
from anycodec.torch.quantizers.kl import Kl


class KlVae(Autoencoder):
    """Encoder to 2z channels, of which the bottleneck makes means and variances; decoder of its samples.

    The bottleneck's linear map is what latent diffusion calls `quant_conv`. Where `label_channels` is set,
    all verbs take labels, int64 [B] in 0..K-1, -1 or K = no label, and go without where there are none.

    Args:
        spec: sizes.
        in_channels: C of the windows.
        classes: K.
    """

    encoder: Encoder2d
    decoder: Decoder2d

    def __init__(self, spec: KlVaeSpec, in_channels: int, classes: int = 0) -> None:
        super().__init__()
        self.stride = spec.stride
        self.latent_channels = spec.code_channels
        self.encoder = Encoder2d(spec, in_channels, 2 * spec.latent_channels, nn.Identity())
        self.quantizer = Kl(spec.quantizer, 2 * spec.latent_channels, spec.code_channels)
        self.decoder = Decoder2d(spec, in_channels)
        self.condition: LabelCondition | None = None
        if spec.label_channels is not None:
            width, z = spec.label_channels, spec.latent_channels
            self.condition = LabelCondition(classes, width, 2 * z, z, spec.label_dropout)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> CodecOutput:
        known = self._known(labels, x)
        posterior = self._posterior(x, known)
        reconstruction = self._decoded(posterior.values, known)
        return CodecOutput(reconstruction, (), posterior.losses, posterior.stats, posterior.values)

    def latents(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._posterior(x, self._known(labels, x)).values

    def decode_latents(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._decoded(z, self._known(labels, z))

    def last_layer(self) -> Tensor:
        return self.decoder.conv_out.weight

    def encoder_last_layer(self) -> Tensor:
        """Weight of the encoder's last convolution, where alignment compares gradients."""
        return self.encoder.conv_out.weight

    def _known(self, labels: Tensor | None, x: Tensor) -> Tensor | None:
        return None if self.condition is None else self.condition.known(labels, x)

    def _posterior(self, x: Tensor, known: Tensor | None) -> Quantized:
        self.check_size(x)
        z = self._latents(x)
        if self.condition is not None and known is not None:
            z = z + self.condition.for_moments(known)
        quantized: Quantized = self.quantizer(z)
        return quantized

    def _decoded(self, z: Tensor, known: Tensor | None) -> Tensor:
        if self.condition is None or known is None:
            return self._reconstruct(z)
        x: Tensor = self.decoder(z, self.condition.for_latents(known))
        return x
