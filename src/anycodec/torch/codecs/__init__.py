"""Codecs, one file a family; `type` in the config is the module's name."""

from __future__ import annotations

from typing import cast

from anycodec.config.codec import CodecSpec, KlVaeSpec
from anycodec.registry import implementation
from anycodec.torch.codecs.base import Codec, CodecOutput


def make_codec(spec: CodecSpec, in_channels: int, classes: int = 0) -> Codec:
    """The codec of a spec for windows with `in_channels` channels, of which some know `classes` labels."""
    codec = implementation(__name__, Codec, spec.type)
    known = (classes,) if isinstance(spec, KlVaeSpec) else ()
    return cast(Codec, codec(spec, in_channels, *known))


__all__ = ["Codec", "CodecOutput", "make_codec"]
