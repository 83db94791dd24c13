"""Lists of the settings there are: all of them, and those that a given configuration can have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from anycodec.config.kinds import CODEC, AnyKind
from anycodec.config.schema import TAG, Leaf, Section, Shape, Table, default_tag, field_shape, top_section
from anycodec.config.source import Node, from_plain


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """A setting, as `anycodec config keys` shows it.

    Attributes:
        key: dotted; `codec[type=vqgan].dropout` belongs to that type only, `losses.<name>.weight`
            stands for every name.
        type: what it takes ("integer >= 1", "cpu | cuda").
        default: as it would be written in a file, "required" where there is none.
        description: what it means, with its unit.
    """

    key: str
    type: str
    default: str
    description: str


def config_keys(kind: AnyKind = CODEC) -> list[ConfigKey]:
    """Every setting that runs of a kind have, in the order of the specs."""
    return list(_section_keys(top_section(kind.spec)))


def active_keys(root: Node, kind: AnyKind = CODEC) -> dict[str, Leaf]:
    """The settings that the configuration under `root` can have, given the types it chose."""
    return dict(_active(top_section(kind.spec), root, ""))


def _section_keys(section: Section) -> Iterator[ConfigKey]:
    """Keys relative to a section; those that all its variants share carry no type."""
    owners: dict[ConfigKey, list[str]] = {}
    for tag, spec in section.variants.items():
        for name, info in spec.model_fields.items():
            if not (section.tagged and name == TAG):
                for key in _field_keys(name, info):
                    owners.setdefault(key, []).append(tag)
    for key, tags in owners.items():
        shared = len(tags) == len(section.variants)
        prefix = "" if shared else f"[{TAG}={'|'.join(tags)}]"
        yield _prefixed(prefix, key) if prefix else key


def _field_keys(name: str, info: FieldInfo) -> Iterator[ConfigKey]:
    description = info.description or ""
    shape = field_shape(info)
    if isinstance(shape, Leaf):
        yield ConfigKey(name, shape.text, _default_text(info), description)
        return
    if isinstance(shape, Table):
        yield ConfigKey(name, "section of free names", _default_text(info), description)
        name, shape, info = f"{name}.<name>", shape.item, FieldInfo(description=description)
    if isinstance(shape, Section):
        if shape.nullable:
            yield ConfigKey(name, "section or null", "null", description)
        if shape.tagged:
            tag = default_tag(info)
            yield ConfigKey(f"{name}.{TAG}", " | ".join(shape.variants), tag or "required", description)
        for key in _section_keys(shape):
            yield _prefixed(name, key)


def _prefixed(prefix: str, key: ConfigKey) -> ConfigKey:
    dot = "" if key.key.startswith("[") else "."
    return ConfigKey(f"{prefix}{dot}{key.key}", key.type, key.default, key.description)


def _default_text(info: FieldInfo) -> str:
    default = info.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "required"
    return default if isinstance(default, str) else json.dumps(to_jsonable_python(default))


def _active(shape: Shape, node: Node, prefix: str) -> Iterator[tuple[str, Leaf]]:
    if isinstance(shape, Leaf):
        yield prefix, shape
        return
    entries = node.section or {}
    dot = f"{prefix}." if prefix else ""
    if isinstance(shape, Table):
        for name, child in entries.items():
            yield from _active(shape.item, child, f"{dot}{name}")
        return
    tag = entries[TAG].value if TAG in entries else None
    if shape.tagged:
        yield f"{dot}{TAG}", Leaf(" | ".join(shape.variants), choices=tuple(shape.variants))
    spec = shape.pick(tag)
    for name, info in spec.model_fields.items() if spec else ():
        if shape.tagged and name == TAG:
            continue
        child = entries.get(name) or _default_node(info)
        yield from _active(field_shape(info), child, f"{dot}{name}")


def _default_node(info: FieldInfo) -> Node:
    if info.is_required():
        return Node(None, "")
    return from_plain(to_jsonable_python(info.get_default(call_default_factory=True)), "")
