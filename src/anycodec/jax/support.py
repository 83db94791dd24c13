"""What this engine has. What only torch has is refused by name, never ignored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anycodec.errors import ConfigError, UserError
from anycodec.registry import implementation


def supported(package: str, base: type, name: str, names: Sequence[str], *, where: str) -> type[Any]:
    """The subclass of `base` that `package/name.py` defines.

    Raises:
        ConfigError: `name` is none of `names`, which this engine has.
    """
    if name not in names:
        raise unsupported(f"type {name}", where=where, how=f"use one of {', '.join(names)}")
    return implementation(package, base, name)


def unsupported(what: str, *, where: str, how: str) -> ConfigError:
    """The mistake of asking for something that only torch has."""
    mistake = UserError(f"the engine jax has no {what}", where=where, how=f"{how}, or engine=torch")
    return ConfigError([mistake])
