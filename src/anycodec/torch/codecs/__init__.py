"""Codecs, one file a family; `type` in the config is the module's name."""

from __future__ import annotations

from typing import cast

from anycodec.config.codec import CodecSpec
from anycodec.registry import implementation
from anycodec.torch.codecs.base import Codec, CodecOutput


def make_codec(spec: CodecSpec, in_channels: int) -> Codec:
    """The codec of a spec for windows with `in_channels` channels."""
    return cast(Codec, implementation(__name__, Codec, spec.type)(spec, in_channels))


__all__ = ["Codec", "CodecOutput", "make_codec"]
