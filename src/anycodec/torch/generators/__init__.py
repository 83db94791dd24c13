"""Generators, one file a kind; `type` in the config is the module's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from anycodec.config.generator import GeneratorSpec
from anycodec.registry import implementation
from anycodec.torch.generators.base import Generator, TokenGenerator


def make_generator(spec: GeneratorSpec, shape: tuple[int, ...], n_classes: int) -> Generator:
    """The generator of a spec for latents of `shape` (D, *g)."""
    return cast(Generator, implementation(__name__, Generator, spec.type)(spec, shape, n_classes))


def make_token_generator(
    spec: GeneratorSpec, grids: Sequence[tuple[int, ...]], codebook_sizes: Sequence[int], n_classes: int
) -> TokenGenerator:
    """The token generator of a spec for a grid *g and a number of codes a level."""
    kind = implementation(__name__, TokenGenerator, spec.type)
    return cast(TokenGenerator, kind(spec, tuple(grids), tuple(codebook_sizes), n_classes))


__all__ = ["Generator", "TokenGenerator", "make_generator", "make_token_generator"]
