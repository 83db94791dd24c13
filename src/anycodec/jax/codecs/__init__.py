"""Codecs, one file a family; `type` in the config is the module's name."""

from __future__ import annotations

from typing import cast

import jax.numpy as jnp
from jax.typing import DTypeLike
from numpy.random import default_rng

from anycodec.config.codec import CodecSpec
from anycodec.jax.codecs.base import Codec, CodecOutput
from anycodec.jax.support import supported

CODECS = ("simvqgan",)


def make_codec(spec: CodecSpec, in_channels: int, seed: int, compute_dtype: DTypeLike = jnp.float32) -> Codec:
    """The codec of a spec for windows with `in_channels` channels.

    Args:
        spec: settings.
        in_channels: C.
        seed: of the initial parameters and of what training draws.
        compute_dtype: of the networks' activations; parameters, statistics and codes are float32.

    Raises:
        ConfigError: a kind of codec or quantizer, or an option, that this engine does not have.
    """
    codec = supported(__name__, Codec, spec.type, CODECS, where="codec.type")
    return cast(Codec, codec(spec, in_channels, dtype=jnp.dtype(compute_dtype), rng=default_rng(seed)))


__all__ = ["CODECS", "Codec", "CodecOutput", "make_codec"]
