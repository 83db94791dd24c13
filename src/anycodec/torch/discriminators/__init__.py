"""Discriminators, one file a kind; `type` in the config is the module's name."""

from __future__ import annotations

from anycodec.config.discriminator import DiscriminatorSpec
from anycodec.registry import implementation
from anycodec.torch.discriminators.base import Discriminator, Judgement

__all__ = ["Discriminator", "Judgement", "make_discriminator"]


def make_discriminator(spec: DiscriminatorSpec, channels: int, dims: int) -> Discriminator:
    """A discriminator of windows [B C *s] with C = `channels` and `dims` (1, 2 or 3) spatial axes."""
    made: Discriminator = implementation(__name__, Discriminator, spec.type)(spec, channels, dims)
    return made
