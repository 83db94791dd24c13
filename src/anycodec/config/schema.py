"""What settings there are: the spec classes seen as sections, tables and leaves.

Section   fields of one spec class, or of the class that `type` names among several
Table     entries under names that the user chooses (losses)
Leaf      a value
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from anycodec.config.base import Spec

TAG = "type"


@dataclass(frozen=True, slots=True)
class Section:
    """Settings by name.

    Attributes:
        variants: spec classes by tag; {"": class} where there is only one.
        nullable: whether null is allowed.
    """

    variants: Mapping[str, type[Spec]]
    nullable: bool = False

    @property
    def tagged(self) -> bool:
        return "" not in self.variants

    def pick(self, tag: object) -> type[Spec] | None:
        """The class of a section that says `type: tag`; the only class where there are no tags."""
        return self.variants.get(str(tag) if self.tagged else "")


@dataclass(frozen=True, slots=True)
class Table:
    """Sections under free names."""

    item: Shape


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value.

    Attributes:
        text: the type as shown to the user ("integer >= 1").
        choices: all values it can have, () where they can't be listed.
        textual: takes text or paths only, so that `2024` is text too.
    """

    text: str
    choices: tuple[str, ...] = ()
    textual: bool = False


Shape = Section | Table | Leaf


def field_shape(info: FieldInfo) -> Shape:
    """What a field of a spec holds."""
    return _shape(info.annotation, tuple(info.metadata))


def default_tag(info: FieldInfo) -> str | None:
    """The tag of the section that stands where the user gives none, None where there is none."""
    default = info.get_default(call_default_factory=True)
    tag = getattr(default, TAG, None)
    return tag if isinstance(tag, str) else None


def top_section(spec: type[Spec]) -> Section:
    """The settings of a whole configuration, of the kind that `spec` describes."""
    return Section({"": spec})


UNKNOWN = Leaf("")
"""Stands for what no spec describes."""


def _shape(annotation: Any, metadata: tuple[Any, ...] = ()) -> Shape:
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        return _shape(inner, (*metadata, *extra))
    members = [part for part in _members(annotation) if part is not NoneType]
    nullable = len(members) < len(_members(annotation))
    if all(isinstance(part, type) and issubclass(part, Spec) for part in members):
        tags = [part.model_fields[TAG].default if TAG in part.model_fields else "" for part in members]
        return Section(dict(zip(tags, members, strict=True)), nullable)
    if get_origin(annotation) is dict:
        return Table(_shape(get_args(annotation)[1]))
    text = " or ".join(_type_text(part, metadata) for part in members)
    return Leaf(
        text + (" or null" if nullable else ""),
        choices=tuple(choice for part in members for choice in _choices(part))
        + (("null",) if nullable else ()),
        textual=all(_is_textual(part) for part in members),
    )


def _members(annotation: Any) -> tuple[Any, ...]:
    """The parts of a union, of a named one inside it too."""
    if get_origin(annotation) not in (Union, UnionType):
        return (annotation,)
    parts = (get_args(part)[0] if get_origin(part) is Annotated else part for part in get_args(annotation))
    return tuple(member for part in parts for member in _members(part))


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return tuple(str(value) for value in get_args(annotation))
    return ("true", "false") if annotation is bool else ()


def _is_textual(annotation: Any) -> bool:
    if get_origin(annotation) is tuple:
        return all(_is_textual(part) for part in get_args(annotation) if part is not ...)
    return annotation in (str, Path)


_NAMES = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path"}


def _type_text(annotation: Any, metadata: tuple[Any, ...]) -> str:
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        return _type_text(inner, _constraints(extra))
    if get_origin(annotation) is Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) is tuple:
        parts = get_args(annotation)
        item = _type_text(parts[0], ())
        return f"list of {item}" if parts[-1] is ... else f"list of {len(parts)}: {item}"
    return _NAMES.get(annotation, str(annotation)) + _limits(_constraints(metadata))


def _constraints(metadata: Any) -> tuple[Any, ...]:
    """Flatten pydantic's FieldInfo, which carries limits inside Annotated."""
    found: list[Any] = []
    for entry in metadata:
        found += entry.metadata if isinstance(entry, FieldInfo) else [entry]
    return tuple(found)


def _limits(constraints: tuple[Any, ...]) -> str:
    low, high, pattern, step = "", "", "", ""
    for entry in constraints:
        match entry:
            case annotated_types.Ge(value):
                low = f" >= {value}"
            case annotated_types.Gt(value):
                low = f" > {value}"
            case annotated_types.Le(value):
                high = f" <= {value}"
            case annotated_types.Lt(value):
                high = f" < {value}"
            case annotated_types.MultipleOf(value):
                step = f" in multiples of {value}"
            case _ if getattr(entry, "pattern", None):
                pattern = f" like {entry.pattern}"
    return low + (" and" if low and high else "") + high + step + pattern
