"""Quantizers, one file a kind; `type` in the config is the module's name."""

from __future__ import annotations

from typing import cast

from numpy.random import Generator

from anycodec.config.quantizer import QuantizerSpec
from anycodec.jax.quantizers.base import Quantized, Quantizer, TokenGrids
from anycodec.jax.support import supported

QUANTIZERS = ("ema", "fsq", "none", "residual", "simvq", "vq")


def make_quantizer(spec: QuantizerSpec, dim: int, rng: Generator) -> Quantizer:
    """The quantizer of a spec for latents of width `dim`.

    Raises:
        ConfigError: a kind that this engine does not have.
    """
    quantizer = supported(__name__, Quantizer, spec.type, QUANTIZERS, where="codec.quantizer.type")
    return cast(Quantizer, quantizer(spec, dim, rng))


__all__ = ["QUANTIZERS", "Quantized", "Quantizer", "TokenGrids", "make_quantizer"]
