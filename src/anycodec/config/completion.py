"""Shell completion of overrides: keys, and the values of settings that have few."""

from __future__ import annotations

from pathlib import Path

from anycodec.config.keys import active_keys, config_keys
from anycodec.config.overrides import apply_overrides
from anycodec.config.source import Node, read_file
from anycodec.errors import ConfigError

_SEPARATOR = "="


def complete_override(config: Path | None, before: list[str], incomplete: str) -> list[tuple[str, str]]:
    """What an unfinished override can become, each with a help text.

    Args:
        config: the configuration file on the command line; the keys are those of its types.
        before: the overrides on the command line before this one.
        incomplete: what was typed.

    bash hands over `key=val` as the three words `key`, `=`, `val`, so that `before` can end in a key.
    """
    if incomplete == _SEPARATOR and before:
        return _values(config, before[:-1], before[-1], "", "")
    if before and before[-1] == _SEPARATOR and len(before) > 1:
        return _values(config, before[:-2], before[-2], incomplete, "")
    key, separator, value = incomplete.partition(_SEPARATOR)
    if separator:
        return _values(config, before, key, value, f"{key}=")
    help_texts = {row.key: row.description for row in config_keys()}
    return [
        (f"{name}=", help_texts.get(name) or leaf.text)
        for name, leaf in active_keys(_tree(config, before)).items()
        if name.startswith(key)
    ]


def _values(
    config: Path | None, before: list[str], key: str, incomplete: str, prefix: str
) -> list[tuple[str, str]]:
    leaf = active_keys(_tree(config, before)).get(key)
    choices = leaf.choices if leaf else ()
    return [(f"{prefix}{choice}", "") for choice in choices if choice.startswith(incomplete)]


def _tree(config: Path | None, before: list[str]) -> Node:
    """The settings typed so far; a configuration that can't be read counts as empty."""
    root = Node({}, "")
    if config is not None:
        try:
            root, _ = read_file(config)
        except ConfigError:
            root = Node({}, "")
    apply_overrides(root, before)
    return root
