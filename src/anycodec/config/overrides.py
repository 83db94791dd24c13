"""Dotted overrides, `codec.quantizer.codebook_size=1024`, laid over the tree of a file.

- An override replaces what stands at its key; a list or a section is replaced whole.
- Where a section gives no `type`, the default's type is meant.
- Overrides of a `type` come first, whatever their place on the command line. The settings of the
  file that the old type has and the new one lacks (or takes differently) are dropped; those that
  both have stay.
- A named entry (`losses.l1.type=l1`) is added to those of the file, or to the default ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from anycodec.config.kinds import CODEC, AnyKind
from anycodec.config.schema import (
    TAG,
    UNKNOWN,
    Leaf,
    Section,
    Shape,
    Table,
    default_tag,
    field_shape,
    top_section,
)
from anycodec.config.secrets import is_secret
from anycodec.config.source import Node, from_plain, parse_value
from anycodec.errors import ConfigError, UserError

_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Override:
    """A parsed override: where it goes and what it sets."""

    path: tuple[str, ...]
    node: Node


def apply_overrides(root: Node, texts: Iterable[str], kind: AnyKind = CODEC) -> list[UserError]:
    """Lay overrides over the tree of a file, in place; returns the mistakes in their form."""
    top = top_section(kind.spec)
    complete(top, root)
    overrides, mistakes = _parse(texts)
    overrides.sort(key=lambda one: (0, len(one.path)) if one.path[-1] == TAG else (1, 0))
    for override in overrides:
        mistake = _lay(top, root, override)
        if mistake:
            mistakes.append(mistake)
    complete(top, root)
    return mistakes


def complete(shape: Shape, node: Node, tag: str | None = None) -> None:
    """Write out the types that stand by default, and text that looks like a number as text."""
    if isinstance(shape, Leaf):
        if shape.textual:
            _as_text(node)
        return
    entries = node.section
    if entries is None:
        return
    if isinstance(shape, Table):
        for child in entries.values():
            complete(shape.item, child)
        return
    if shape.tagged and tag and TAG not in entries:
        entries[TAG] = Node(tag, node.where, tag)
    spec = shape.pick(entries[TAG].value if TAG in entries else None)
    for name, info in spec.model_fields.items() if spec else ():
        if name in entries:
            complete(field_shape(info), entries[name], default_tag(info))


def _as_text(node: Node) -> None:
    if isinstance(node.value, list):
        for item in node.value:
            _as_text(item)
    elif isinstance(node.value, bool | int | float):
        node.value = node.text


def _parse(texts: Iterable[str]) -> tuple[list[Override], list[UserError]]:
    overrides: list[Override] = []
    mistakes: list[UserError] = []
    for text in texts:
        key, equals, value = text.partition("=")
        path = tuple(key.strip().split("."))
        where = f"override '{_shown(key, value) if equals else text}'"
        if not equals or not all(path):
            how = "for example train.steps=1000"
            mistakes.append(UserError("an override has the form KEY=VALUE", where=where, how=how))
            continue
        try:
            overrides.append(Override(path, parse_value(value, where)))
        except ConfigError as error:
            mistakes += error.mistakes
    return overrides, mistakes


def _shown(key: str, value: str) -> str:
    if any(is_secret(name) for name in key.split(".")):
        return f"{key}=..."
    text = f"{key}={value}"
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def _lay(shape: Shape, node: Node, override: Override, depth: int = 0) -> UserError | None:
    """Set the value of an override below `node`, which stands at `override.path[:depth]`."""
    name, where = override.path[depth], override.node.where
    if not isinstance(node.value, dict):
        key = ".".join(override.path[:depth])
        what = f"`{key}` is a value, not a section that could have `{name}`"
        return UserError(what, where=where, how=f"set it as a whole: {key}=VALUE (a list as [2, 2, 3])")
    if depth == len(override.path) - 1:
        if name == TAG and isinstance(shape, Section):
            _drop_foreign(shape, node.value, override.node.value)
        node.value[name] = override.node
        return None
    inner, info = _field(shape, node.value, name)
    child = node.value.get(name)
    if isinstance(inner, Leaf) and inner is not UNKNOWN:
        child = Node(None, where)
    elif child is None or child.value is None:
        child = node.value[name] = Node(_default_entries(inner, info, where), where)
        complete(inner, child, default_tag(info) if info else None)
    return _lay(inner, child, override, depth + 1)


def _field(shape: Shape, entries: dict[str, Node], name: str) -> tuple[Shape, FieldInfo | None]:
    if isinstance(shape, Table):
        return shape.item, None
    if isinstance(shape, Section):
        spec = shape.pick(entries[TAG].value if TAG in entries else None)
        info = spec.model_fields.get(name) if spec else None
        if info:
            return field_shape(info), info
    return UNKNOWN, None


def _default_entries(shape: Shape, info: FieldInfo | None, where: str) -> dict[str, Node]:
    """Entries of a section that the file lacks: named ones start from the default's."""
    if not (isinstance(shape, Table) and info and not info.is_required()):
        return {}
    return from_plain(to_jsonable_python(info.get_default(call_default_factory=True)), where).section or {}


def _drop_foreign(section: Section, entries: dict[str, Node], tag: object) -> None:
    """Drop the settings of the present type that the type `tag` lacks or takes differently."""
    old = section.pick(entries[TAG].value) if TAG in entries else None
    new = section.pick(tag)
    if old is None or new is None:
        return
    for name, info in old.model_fields.items():
        other = new.model_fields.get(name)
        if name in entries and (other is None or other.annotation != info.annotation):
            del entries[name]
