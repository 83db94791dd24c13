"""JSON as files carry it: bounded, strict, checked field by field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.limits import DEEPEST_JSON, LARGEST_EXTENT, LARGEST_JSON

T = TypeVar("T")
Json = dict[str, Any]


def dump(value: Mapping[str, Any]) -> bytes:
    """ASCII, without spaces.

    Raises:
        ValueError: NaN or infinity in it, or too large.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    if len(text) > LARGEST_JSON:
        raise ValueError(f"metadata of {len(text)} bytes is above the limit of {LARGEST_JSON}")
    return text


def load(text: bytes) -> Json:
    """A JSON object.

    Raises:
        Damaged: not JSON, not an object, or nested too deeply.
    """
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"not JSON ({error})") from error
    _check_depth(value)
    if not isinstance(value, dict):
        raise Damaged("not a JSON object")
    return value


def get(document: Json, key: str, kind: type[T]) -> T:
    """The entry `key`, which must be of type `kind`.

    Raises:
        Damaged: missing or of another type.
    """
    value = document.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Damaged(f"`{key}` is missing or not of type {kind.__name__}")
    return value


def get_extents(document: Json, key: str) -> tuple[int, ...]:
    """A list of integers in 0..2^48.

    Raises:
        Damaged: missing or something else.
    """
    values = get(document, key, list)
    if not all(type(value) is int and 0 <= value <= LARGEST_EXTENT for value in values):
        raise Damaged(f"`{key}` is not a list of extents")
    return tuple(values)


def get_text(document: Json, key: str) -> str | None:
    """A text or null.

    Raises:
        Damaged: something else.
    """
    return None if document.get(key) is None else get(document, key, str)


def get_number(document: Json, key: str) -> float | None:
    """A finite number or null.

    Raises:
        Damaged: something else.
    """
    value = document.get(key)
    return None if value is None else as_number(value, key)


def as_number(value: object, key: str) -> float:
    """A finite float.

    Raises:
        Damaged: something else.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Damaged(f"`{key}` is not a number")
    try:
        number = float(value)
    except OverflowError as error:
        raise Damaged(f"`{key}` is too large") from error
    if not math.isfinite(number):
        raise Damaged(f"`{key}` is not finite")
    return number


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST_JSON:
            raise Damaged(f"JSON with more than {DEEPEST_JSON} levels")
        level = [
            item
            for parent in level
            if isinstance(parent, dict | list)
            for item in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(item, dict | list)
        ]
