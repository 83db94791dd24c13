"""Discriminators, one file a kind; `type` in the config is the module's name."""

from __future__ import annotations

import jax.numpy as jnp
from jax.typing import DTypeLike
from numpy.random import default_rng

from anycodec.config.discriminator import DiscriminatorSpec
from anycodec.jax.discriminators.base import Discriminator, Judgement
from anycodec.jax.support import supported, unsupported

DISCRIMINATORS = ("patchgan", "res_patchgan")
_WHERE = "adversarial.discriminator"


def make_discriminator(
    spec: DiscriminatorSpec, channels: int, seed: int, compute_dtype: DTypeLike = jnp.float32
) -> Discriminator:
    """A discriminator of windows [B C T] with C = `channels`.

    Raises:
        ConfigError: a kind, or a setting, that this engine does not have.
    """
    kind = supported(__name__, Discriminator, spec.type, DISCRIMINATORS, where=f"{_WHERE}.type")
    if spec.spectral_norm:
        raise unsupported("spectral norm", where=f"{_WHERE}.spectral_norm", how="set it to false")
    if spec.norm == "actnorm":
        raise unsupported("norm actnorm", where=f"{_WHERE}.norm", how="use group, instance, batch or none")
    made: Discriminator = kind(spec, channels, dtype=jnp.dtype(compute_dtype), rng=default_rng(seed))
    return made


__all__ = ["DISCRIMINATORS", "Discriminator", "Judgement", "make_discriminator"]
