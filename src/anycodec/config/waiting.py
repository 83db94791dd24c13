"""Codes that a training ends too early to start."""

from __future__ import annotations

from collections.abc import Iterator

from anycodec.config.base import Spec
from anycodec.config.quantizers.codebook import CodebookSpec
from anycodec.config.run import RunSpec


def never_started(spec: RunSpec) -> list[str]:
    """Settings `kmeans_after` that the training's last step does not reach, by dotted key."""
    return [
        f"{key}.kmeans_after"
        for key, codes in _codebooks("codec", spec.codec)
        if codes.kmeans_init and codes.kmeans_after >= spec.train.steps
    ]


def _codebooks(key: str, spec: Spec) -> Iterator[tuple[str, CodebookSpec]]:
    if isinstance(spec, CodebookSpec):
        yield key, spec
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, Spec):
                yield from _codebooks(f"{key}.{name}", inner)
