"""Quantizers, one file a kind; `type` in the config is the module's name."""

from __future__ import annotations

from typing import cast

from anycodec.config.quantizer import QuantizerSpec
from anycodec.registry import implementation
from anycodec.torch.quantizers.base import Quantized, Quantizer, TokenGrids


def make_quantizer(spec: QuantizerSpec, dim: int) -> Quantizer:
    """The quantizer of a spec for latents of width `dim`."""
    return cast(Quantizer, implementation(__name__, Quantizer, spec.type)(spec, dim))


__all__ = ["Quantized", "Quantizer", "TokenGrids", "make_quantizer"]
