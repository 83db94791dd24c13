"""What shapes a codec's latents while it is trained, and is no part of it."""

from __future__ import annotations

from anycodec.config.run import RunSpec
from anycodec.engine import FeatureMaps
from anycodec.torch.codecs.base import Codec
from anycodec.torch.codecs.klvae import KlVae
from anycodec.torch.shaping.alignment import Alignment
from anycodec.torch.shaping.base import LatentTerm
from anycodec.torch.shaping.equivariance import Equivariance


def latent_terms(spec: RunSpec, codec: Codec, teacher: FeatureMaps | None) -> list[LatentTerm]:
    """The terms that a configuration asks for.

    Args:
        spec: the configuration.
        codec: whose latents.
        teacher: what they are aligned with.
    """
    found: list[LatentTerm] = []
    if spec.alignment is not None:
        assert isinstance(codec, KlVae)
        assert teacher is not None
        layer = codec.encoder_last_layer()
        found.append(Alignment(spec.alignment, codec.latent_channels, teacher, layer))
    if spec.equivariance is not None:
        found.append(Equivariance(spec.equivariance))
    return found
