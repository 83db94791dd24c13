"""Parts of libraries that are optional."""

from __future__ import annotations

from typing import Any

from anycodec.errors import MissingExtra


def from_diffusers(name: str) -> Any:
    """A class of diffusers.

    Raises:
        MissingExtra: diffusers is not installed.
    """
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtra("diffusers", "generate") from error
    return getattr(diffusers, name)
