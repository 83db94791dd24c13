"""Shell completion of overrides: keys, and the values of settings that have few."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anycodec.config.keys import active_keys, config_keys
from anycodec.config.kinds import kind_of
from anycodec.config.overrides import apply_overrides
from anycodec.config.source import Node, read_file
from anycodec.errors import ConfigError


def complete_override(config: Path | None, before: Sequence[str], incomplete: str) -> list[tuple[str, str]]:
    """What an unfinished override can become, each with a help text.

    A key that is the only one left comes with its values.

    Args:
        config: the configuration file on the command line; the keys are those of its types.
        before: the words on the command line between it and this one.
        incomplete: what was typed.
    """
    *done, last = _rejoined([*before, incomplete])
    if not last and done and "=" not in done[-1]:
        last = f"{done.pop()}="
    key, equals, value = last.partition("=")
    tree = _tree(config)
    kind = kind_of(tree, done)
    apply_overrides(tree, done, kind)
    leaves = active_keys(tree, kind)
    if equals:
        prefix = f"{key}=" if last == incomplete else ""
        choices = leaves[key].choices if key in leaves else ()
        return [(f"{prefix}{choice}", "") for choice in choices if choice.startswith(value)]
    names = [name for name in leaves if name.startswith(key)]
    if len(names) == 1 and leaves[names[0]].choices:
        return [(f"{names[0]}={choice}", "") for choice in leaves[names[0]].choices]
    meanings = {row.key: row.description for row in config_keys(kind)}
    return [(f"{name}=", meanings.get(name) or leaves[name].text) for name in names]


def _rejoined(words: Sequence[str]) -> list[str]:
    """bash hands over `key=value` as the words `key`, `=` and `value` (and click drops a last `=`)."""
    joined: list[str] = []
    for word, previous in zip(words, ["", *words], strict=False):
        if joined and "=" in (word, previous):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _tree(config: Path | None) -> Node:
    """The settings of a file; a configuration that can't be read counts as empty."""
    if config is None:
        return Node({}, "")
    try:
        root, _ = read_file(config)
    except ConfigError:
        return Node({}, "")
    return root
