"""What pydantic found wrong, said in the words of the configuration file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from anycodec.config.keys import active_keys
from anycodec.config.kinds import CODEC, AnyKind
from anycodec.config.nearest import did_you_mean, nearest
from anycodec.config.schema import TAG, UNKNOWN, Leaf, Section, Shape, Table, field_shape, top_section
from anycodec.config.source import Node
from anycodec.errors import UserError

_LONGEST_SHOWN = 60

Path = tuple[str, ...]


def explain(error: ValidationError, root: Node, kind: AnyKind) -> list[UserError]:
    """One mistake a key; a missing key that was mistyped counts once."""
    found: dict[Path, UserError] = {}
    located = [(details, *_locate(details["loc"], kind)) for details in error.errors(include_url=False)]
    unknown = [path for details, path, _ in located if details["type"] == "extra_forbidden"]
    mistyped = {
        (*parents, nearest(name, _known(tuple(parents), root, kind)) or "") for *parents, name in unknown
    }
    for details, path, shape in located:
        if details["type"] == "missing" and path in mistyped:
            continue
        if path not in found:
            found[path] = _explain_one(details, path, shape, root, kind)
    return list(found.values())


def place(root: Node, path: Iterable[str]) -> str:
    """Where a key stands, or its nearest parent that stands somewhere."""
    node = root
    for name in path:
        child = (node.section or {}).get(name)
        if child is None:
            break
        node = child
    return node.where


def _locate(loc: Sequence[int | str], kind: AnyKind) -> tuple[Path, Shape]:
    """The key that pydantic's location means: without union tags, list indices and such."""
    path: Path = ()
    shape: Shape = top_section(kind.spec)
    rest = [str(part) for part in loc]
    while rest and not isinstance(shape, Leaf):
        if isinstance(shape, Table):
            path, shape = (*path, rest.pop(0)), shape.item
            continue
        untagged = len(shape.variants) == 1  # no union, so pydantic names no tag
        spec = next(iter(shape.variants.values())) if untagged else shape.pick(rest.pop(0))
        if not rest or spec is None:
            break
        name = rest.pop(0)
        info = spec.model_fields.get(name)
        path, shape = (*path, name), field_shape(info) if info else UNKNOWN
    return path, shape


def _explain_one(details: ErrorDetails, path: Path, shape: Shape, root: Node, kind: AnyKind) -> UserError:
    key = ".".join(path)
    where = place(root, path)
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(path, root, kind)
        case "missing" if _node(root, path) is None:
            return UserError(f"missing key `{key}`", where=where, how=_options(shape) or f"add {key}=VALUE")
        case "union_tag_not_found":
            return UserError(f"missing key `{key}.{TAG}`", where=where, how=_known_types(shape))
        case "union_tag_invalid":
            return _unknown_tag(path, shape, root)
        case "value_error":
            return UserError(f"`{key}`: {details['ctx']['error']}", where=where)
    return (
        _wrong_value(key, shape, root, path)
        if isinstance(shape, Leaf)
        else _no_section(key, shape, root, path)
    )


def _unknown_key(path: Path, root: Node, kind: AnyKind) -> UserError:
    *parents, name = path
    known = _known(tuple(parents), root, kind)
    question = did_you_mean(name, known) or _elsewhere(name, path, root, kind) or _of_codecs(path, kind)
    return UserError(
        f"unknown key `{'.'.join(path)}`" + (f"; {question}" if question else ""),
        where=place(root, path),
        how=f"known keys{' of ' + '.'.join(parents) if parents else ''}: {', '.join(known)}",
    )


def _known(path: Path, root: Node, kind: AnyKind) -> list[str]:
    """Keys that the section at `path` can have, given its type."""
    shape: Shape = top_section(kind.spec)
    node = root
    for name in (*path, ""):
        if isinstance(shape, Table):
            inner = shape.item
        else:
            tag = (node.section or {}).get(TAG)
            spec = shape.pick(tag.value if tag else None) if isinstance(shape, Section) else None
            fields = spec.model_fields if spec else {}
            if not name:
                return list(fields)
            inner = field_shape(fields[name]) if name in fields else UNKNOWN
        shape, node = inner, (node.section or {}).get(name) or node
    return []


def _elsewhere(name: str, path: Path, root: Node, kind: AnyKind) -> str | None:
    """A setting of that very name in another section."""
    depth = len(path) - 1
    same = [key for key in active_keys(root, kind) if key.rpartition(".")[2] == name]
    same.sort(key=lambda key: -sum(a == b for a, b in zip(key.split("."), path[:depth], strict=False)))
    return f"did you mean `{same[0]}`?" if same else None


def _of_codecs(path: Path, kind: AnyKind) -> str | None:
    """A section that codecs have, in a configuration of another kind."""
    if len(path) > 1 or kind is CODEC or path[0] not in CODEC.spec.model_fields:
        return None
    return f"with `{kind.key}` this is no configuration of a codec, which would have it"


def _unknown_tag(path: Path, shape: Shape, root: Node) -> UserError:
    key = ".".join((*path, TAG))
    given = _node(root, (*path, TAG))
    word = str(given.value) if given else ""
    question = did_you_mean(word, _variants(shape))
    return UserError(
        f"unknown `{key}`: {word}" + (f"; {question}" if question else ""),
        where=place(root, (*path, TAG)),
        how=_known_types(shape),
    )


def _wrong_value(key: str, leaf: Leaf, root: Node, path: Path) -> UserError:
    node = _node(root, path)
    near = nearest(str(node.value), leaf.choices) if node and isinstance(node.value, str) else None
    question = f"; did you mean `{near}`?" if near else ""
    return UserError(
        f"`{key}` must be {leaf.text}, not {_shown(root, path)}{question}", where=place(root, path)
    )


def _no_section(key: str, shape: Section | Table, root: Node, path: Path) -> UserError:
    node = _node(root, path)
    how = _options(shape)
    if node and node.section == {}:
        return UserError(f"`{key}` is empty", where=node.where, how=how)
    if isinstance(shape, Section) and node and isinstance(node.value, str) and node.value in shape.variants:
        how = f"write `{TAG}: {node.value}` inside it, or {key}.{TAG}={node.value}"
    return UserError(
        f"`{key}` must be a section of settings, not {_shown(root, path)}", where=place(root, path), how=how
    )


def _node(root: Node, path: Path) -> Node | None:
    node: Node | None = root
    for name in path:
        node = (node.section or {}).get(name) if node else None
    return node


def _shown(root: Node, path: Path) -> str:
    """A value as written, shortened."""
    node = _node(root, path)
    text = json.dumps(node.plain(), ensure_ascii=False) if node else "nothing"
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def _variants(shape: Shape) -> Iterable[str]:
    return shape.variants if isinstance(shape, Section) else ()


def _known_types(shape: Shape) -> str:
    return f"known types: {', '.join(_variants(shape))}"


def _options(shape: Shape) -> str | None:
    """What a section is made of."""
    if isinstance(shape, Table):
        return "a section with entries of the form NAME: {type: ...}"
    if isinstance(shape, Leaf):
        return None
    if shape.tagged:
        return f"a section with {TAG}: {' | '.join(shape.variants)}"
    return f"its keys: {', '.join(shape.variants[''].model_fields)}"
